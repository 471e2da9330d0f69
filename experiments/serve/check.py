"""Whether lm-eval's figures are those of `leash score`: check.py LM_EVAL_OUT TOKENIZER MODEL [ADAPTER]

Every log-likelihood that lm-eval logged is computed again from the same ids; the figures of its tasks from those.
"""
import glob
import json
import math
import subprocess
import sys

from transformers import AutoTokenizer

out, tokenizer_path, model, *adapter = sys.argv[1:]
tokenizer = AutoTokenizer.from_pretrained(tokenizer_path)
LEASH = ["build/release/leash", "score", "--model", model, "--json", "--input", "-"]


def encode(text):
    return tokenizer.encode(text, add_special_tokens=False)


def score(texts):
    """Sum of log-probs of each (ids, first scored token)."""
    lines = "".join(json.dumps({"token_ids": ids}) + "\n" for ids, _ in texts)
    command = LEASH + (["--adapter", adapter[0]] if adapter else [])
    result = subprocess.run(command, input=lines, capture_output=True, text=True, check=True).stdout
    return [sum(json.loads(line)["logprobs"][begin - 1:]) for line, (_, begin) in zip(result.splitlines(), texts)]


def samples(task):
    (file,) = glob.glob(f"{out}/**/samples_{task}_*.jsonl", recursive=True)
    return [json.loads(line) for line in open(file)]


def pair(argument):
    """lm-eval's rule: white space at the context's end belongs to what follows."""
    context, answer = argument["arg_0"], argument["arg_1"]
    spaces = len(context) - len(context.rstrip())
    if spaces:
        context, answer = context[:-spaces], context[-spaces:] + answer
    whole = encode(context + answer)
    return whole, len(encode(context))


def gap(name, ours, theirs):
    worst = max(abs(a - b) for a, b in zip(ours, theirs))
    print(f"{name}: {len(ours)} compared, largest gap {worst:.1e}")
    assert len(ours) == len(theirs) and worst < 1e-4, worst


(results,) = glob.glob(f"{out}/**/results_*.json", recursive=True)
figures = json.load(open(results))["results"]

choices = samples("leash_choice")
texts = [pair(a) for s in choices for a in s["arguments"].values()]
ours = score(texts)
tokens = [len(ids) - begin for ids, begin in texts]


def per_token(sums, counts):
    return [a / b for a, b in zip(sums, counts)]


# Sums over up to a hundred tokens differ by float32's rounding: their tokens' means are compared.
gap("log-likelihoods of answers, per token", per_token(ours, tokens),
    per_token([float(r[0][0]) for s in choices for r in s["resps"]], tokens))
right = [ours[2 * i] > ours[2 * i + 1] for i in range(len(choices))]
gap("accuracy", [sum(right) / len(right)], [figures["leash_choice"]["acc,none"]])

passages = samples("leash_texts")
prefix = tokenizer.bos_token_id if tokenizer.bos_token_id is not None else tokenizer.eos_token_id
whole = [s["arguments"]["gen_args_0"]["arg_0"] for s in passages]
texts = [([prefix] + encode(text), 1) for text in whole]
ours = score(texts)
tokens = [len(ids) - 1 for ids, _ in texts]
gap("log-likelihoods of texts, per token", per_token(ours, tokens),
    per_token([float(s["resps"][0][0]) for s in passages], tokens))
per_word = math.exp(-sum(ours) / sum(len(text.split()) for text in whole))
per_byte = math.exp(-sum(ours) / sum(len(text.encode()) for text in whole))
print(f"accuracy {sum(right) / len(right):.4f}, perplexity per word {per_word:.4f}, per byte {per_byte:.5f}")
gap("perplexity per byte", [per_byte], [figures["leash_texts"]["byte_perplexity,none"]])
