"""What transformers and llama.cpp say of the same file and of the adapters that were trained on it:
compare.py FOLDER LEASH   (packages transformers, gguf, xllamacpp; experiments/gemma3/run calls it). Prints JSON lines.

Log-probs of transformers are taken in float64 from its float32 logits: its float32 log_softmax over 262,144 words is off by 5e-05.
"""
import json
import os
import pathlib
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "export"))
import llama_cpp_logprobs as llama  # noqa: E402

out, leash = pathlib.Path(sys.argv[1]), sys.argv[2]
model = str(out / "gemma-3-270m-q4_k_m.gguf")
threads = os.environ.get("THREADS", "2")
PROMPTS = ["Question: How do I keep cut apples from turning brown?\nAnswer:", "Question: Say thanks to a neighbour.\nAnswer:"]


def run(command, *arguments, text=None):
    done = subprocess.run([leash, command, "--threads", threads, *arguments], input=text, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    return [json.loads(line) for line in done.stdout.splitlines()]


def gap(a, b):
    return max(abs(x - y) for one, other in zip(a, b) for x, y in zip(one, other))


def transformers_logprobs(texts):
    import torch
    import transformers
    torch.set_num_threads(int(threads))
    net = transformers.AutoModelForCausalLM.from_pretrained(str(out), gguf_file=pathlib.Path(model).name, dtype=torch.float32,
                                                            attn_implementation="eager").eval()
    result = []
    for ids in texts:
        with torch.no_grad():
            logits = net(input_ids=torch.tensor([ids])).logits[0, :-1].double()
        result.append(torch.log_softmax(logits, -1).gather(1, torch.tensor(ids[1:])[:, None])[:, 0].tolist())
    return result


def greedy(server, ids, count):
    answer = server.handle_completions({"prompt": ids, "n_predict": count, "temperature": 0.0, "n_probs": 1, "cache_prompt": False})
    answer = json.loads(answer) if isinstance(answer, (str, bytes)) else answer
    return [t["id"] for t in answer["choices"][0]["logprobs"]["content"]]


def circle(name, base, texts, quantize):
    """An adapter that was trained on the quantised base, in llama.cpp on `base` and here."""
    adapter = str(out / name / "adapter")
    lines = "".join(json.dumps({"token_ids": ids[:12]}) + "\n" for ids in texts)
    ours = [row["logprobs"] for row in run("score", "--model", model, "--adapter", adapter, "--quantize", quantize, "--input", "-",
                                           "--json", text=lines)]
    prompts = "".join(json.dumps({"prompt": text}) + "\n" for text in PROMPTS)
    answers = run("generate", "--model", model, "--adapter", adapter, "--quantize", quantize, "--input", "-", "--greedy",
                  "--max-new-tokens", "16", "--json", text=prompts)
    server = llama.server(base, str(out / f"{name}.gguf"))
    theirs = [llama.logprobs(server, ids[:12], 262144) for ids in texts]
    same = 0
    for row in answers:
        there = greedy(server, row["prompt_ids"], len(row["token_ids"]))
        same += sum(1 for _ in iter_equal(row["token_ids"], there))
    return {"adapter": name, "base in llama.cpp": pathlib.Path(base).name, "largest gap, nats": gap(ours, theirs),
            "greedy tokens equal": same, "of": sum(len(r["token_ids"]) for r in answers)}


def iter_equal(a, b):
    for x, y in zip(a, b):
        if x != y:
            return
        yield x


scores = [json.loads(line) for line in (out / "scores.jsonl").read_text().splitlines()]
texts = [row["token_ids"] for row in scores]
print(json.dumps({"compared": "leash and transformers, base", "tokens": sum(len(t) - 1 for t in texts),
                  "largest gap, nats": gap([r["logprobs"] for r in scores], transformers_logprobs(texts))}), flush=True)
dense = str(out / "f32.gguf")
if not os.path.exists(dense):
    subprocess.run([leash, "export", "--model", model, "--as", "gguf", "--outtype", "f32", "--out", dense], check=True)
for base in (dense, model):
    for name in ("sft", "ppo"):
        print(json.dumps(circle(name, base, texts, "keep")), flush=True)
