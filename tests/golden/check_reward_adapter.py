"""Loads the adapter of a `task: reward` run with transformers and PEFT and compares its scores with the run's.

Run by the suite Peers of cli_test, or by hand:

    python tests/golden/check_reward_adapter.py BASE_FOLDER RUN_DIR HELD_OUT.jsonl STEP

The exit code is 1 when they differ.

BASE_FOLDER is the Hugging Face folder that the run's model.path names, HELD_OUT.jsonl its data.eval, and STEP an evaluated step
whose adapter the run exported (the last one, unless load_best_model_at_end). Texts are tokenised here by transformers, from the
file: prompt and answer as one text with EOS, or the chat template cut behind its last EOS.
"""
import json
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def ids(tokenizer, pair, key):
    prompt = pair.get("prompt")
    if isinstance(pair[key], str):
        found = tokenizer((prompt or "") + pair[key])["input_ids"]
        return found if found and found[-1] == tokenizer.eos_token_id else found + [tokenizer.eos_token_id]
    text = tokenizer.apply_chat_template((prompt or []) + pair[key], tokenize=False)
    found = tokenizer(text, add_special_tokens=False)["input_ids"]
    if tokenizer.eos_token_id in found:
        found = found[:len(found) - found[::-1].index(tokenizer.eos_token_id)]
    return found


def main(base, run_dir, held_out, step):
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32,
                                                               attn_implementation="eager")
    model.config.pad_token_id = None  # texts go one by one; with EOS as padding it would look before the EOS
    model = PeftModel.from_pretrained(model, f"{run_dir}/adapter").eval()
    with open(f"{run_dir}/evaluations/step-{step}.json", encoding="utf-8") as file:
        scored = json.load(file)["pairs"]
    with open(held_out, encoding="utf-8") as file:
        pairs = [json.loads(line) for line in file if line.strip()]
    assert len(pairs) == len(scored), (len(pairs), len(scored))
    worst = largest = 0.0
    for pair, ours in zip(pairs, scored):
        for key in ("chosen", "rejected"):
            with torch.no_grad():
                theirs = model(torch.tensor([ids(tokenizer, pair, key)])).logits.item()
            worst = max(worst, abs(theirs - ours[key]))
            largest = max(largest, abs(theirs))
    print(f"{2 * len(pairs)} scores of size up to {largest:.3f}, largest difference {worst:.2e}")
    return worst > 1e-4 * max(1.0, largest)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
