"""Do leash and the peers start from the same numbers? check.py OUT CHAIN_SEED_FOLDER LEASH

Token ids of every prompt; log-probs of the merged start against the warm start's adapter; scores of held-out answers by leash (from the
adapter and from the merged model), by transformers and by TRL's own function on padded rows. Prints what differs, ends with 1 where it is
more than rounding.
"""
import json
import os
import pathlib
import subprocess
import sys

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
from trl.experimental.utils import get_reward

PAIRS = 12
DATA = pathlib.Path(__file__).resolve().parents[2] / "configs/recipes/data"


def lines_of(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def leash_score(leash: str, rows: pathlib.Path, model: str, *options: str) -> list[dict]:
    return lines_of(subprocess.run([leash, "score", "--model", model, "--input", str(rows), "--json", *options], check=True,
                                   capture_output=True, text=True).stdout)


def largest_difference(a, b) -> float:
    return max(abs(x - y) for x, y in zip(a, b, strict=True))


def differing_prompts(out: pathlib.Path, leash: str, tokenizer) -> int:
    """Prompts whose ids are not the same for leash with the GGUF, leash with start/ and transformers with start/."""
    wrong = 0
    for part in ("train", "held_out"):
        prompts = out / f"prompts.{part}.jsonl"
        printed = subprocess.run([leash, "generate", "--model", "smollm2", "--input", str(prompts), "--greedy", "--max-new-tokens", "1",
                                  "--json"], check=True, capture_output=True, text=True).stdout
        for prompt, gguf, ids in zip(lines_of(prompts.read_text()), lines_of(printed),
                                     lines_of((out / f"prompts.{part}.ids.jsonl").read_text()), strict=True):
            theirs = tokenizer.apply_chat_template(prompt["messages"], add_generation_prompt=True, return_dict=True)["input_ids"]
            wrong += not (gguf["prompt_ids"] == ids["token_ids"] == theirs)
    return wrong


def trl_scores(model, prompts: list[list[int]], answers: list[list[int]]) -> list[float]:
    """Rows as PPOTrainer pads them: prompts to the left, answers to the right, with an id that is no token's."""
    pad = model.config.vocab_size
    left, right = max(map(len, prompts)), max(map(len, answers))
    rows = [[pad] * (left - len(p)) + p + a + [pad] * (right - len(a)) for p, a in zip(prompts, answers)]
    with torch.no_grad():
        return get_reward(model, torch.tensor(rows), pad, left)[1].tolist()


def main(out_folder: str, chain: str, leash: str) -> None:
    out = pathlib.Path(out_folder)
    tokenizer = AutoTokenizer.from_pretrained(out / "start")
    pairs = lines_of((DATA / "preferences.held_out.jsonl").read_text())[:: 120 // PAIRS][:PAIRS]
    prompts, answers = [], []
    for number, pair in enumerate(pairs):
        for side in ("chosen", "rejected"):
            prompts.append(tokenizer.apply_chat_template(pair["prompt"], add_generation_prompt=True, return_dict=True)["input_ids"])
            ids = tokenizer(pair[side][0]["content"], add_special_tokens=False)["input_ids"]
            # Every third answer is an unfinished one.
            answers.append(ids + [tokenizer.eos_token_id] if number % 3 else ids[: max(1, len(ids) // 2)])
    texts = [p + a for p, a in zip(prompts, answers)]
    rows = out / "check.jsonl"
    rows.write_text("".join(json.dumps({"token_ids": row}) + "\n" for row in texts))

    reward = AutoModelForSequenceClassification.from_pretrained(out / "reward", dtype=torch.float32).eval()
    with torch.no_grad():
        alone = [reward(input_ids=torch.tensor([row]), attention_mask=torch.ones(1, len(row), dtype=torch.long)).logits.item()
                 for row in texts]
    from_adapter = [row["score"] for row in leash_score(leash, rows, "smollm2", "--adapter", f"{chain}/reward/adapter")]
    merged = [row["score"] for row in leash_score(leash, rows, str(out / "reward"))]
    by_start = leash_score(leash, rows, str(out / "start"))
    by_adapter = leash_score(leash, rows, "smollm2", "--adapter", f"{chain}/warm_start/adapter")
    result = {
        "prompts with other ids": differing_prompts(out, leash, tokenizer),
        "scores compared": len(texts),
        "scores from": min(merged),
        "scores to": max(merged),
        "score, adapter on the base - merged model, both leash": largest_difference(from_adapter, merged),
        "score, leash - transformers, one row at a time": largest_difference(merged, alone),
        "score, leash - TRL, padded rows": largest_difference(merged, trl_scores(reward, prompts, answers)),
        "log-prob, warm start's adapter - merged start, both leash": max(
            largest_difference(a["logprobs"], b["logprobs"]) for a, b in zip(by_start, by_adapter, strict=True)),
    }
    (out / "check.json").write_text(json.dumps(result, indent=1) + "\n")
    for name, value in result.items():
        print(f"{name}: {value:.3g}", file=sys.stderr)
    if result["prompts with other ids"] or any(value > 2e-3 for name, value in result.items() if " - " in name):
        (out / "check.json").rename(out / "check.failed.json")
        sys.exit("the two programs do not start from the same numbers")


main(*sys.argv[1:])
