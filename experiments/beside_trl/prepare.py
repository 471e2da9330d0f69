"""Full models out of the chain's adapters, and the prompts: prepare.py BASE CHAIN_SEED_FOLDER LEASH SEED OUT

BASE is the fp32 folder of experiments/bench/peers/checkpoint.py; CHAIN_SEED_FOLDER has warm_start/adapter and reward/adapter. OUT gets
start/ (the warm start merged into the base), reward/ (the reward adapter and its head merged, a sequence-classification model) and the
chain's prompts: those to train on in one shuffled order, beside each the token ids that leash makes of it (prompts.*.ids.jsonl).
"""
import json
import pathlib
import random
import subprocess
import sys

import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer


def without_adapter_files(model):
    """PEFT leaves its name on what it has merged; save_pretrained would write an adapter again."""
    model.__dict__.pop("_hf_peft_config_loaded", None)
    return model


def merge(base: str, warm_start: pathlib.Path, reward: pathlib.Path, out: pathlib.Path) -> None:
    start = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    start = without_adapter_files(PeftModel.from_pretrained(start, str(warm_start)).merge_and_unload())
    judge = AutoModelForSequenceClassification.from_pretrained(base, num_labels=1, dtype=torch.float32)
    judge = without_adapter_files(PeftModel.from_pretrained(judge, str(reward)).merge_and_unload())
    judge.config.pad_token_id = None  # <|im_end|>, which is the base's, would have the score read one token too early
    tokenizer = AutoTokenizer.from_pretrained(base)
    for name, model in (("start", start), ("reward", judge)):
        model.save_pretrained(out / name)
        tokenizer.save_pretrained(out / name)


def ids_of(leash: str, start: pathlib.Path, prompts: pathlib.Path) -> list[list[int]]:
    """As `leash train` tokenises them; a token is sampled because there is no other way to see a prompt's ids."""
    printed = subprocess.run([leash, "generate", "--model", str(start), "--input", str(prompts), "--greedy", "--max-new-tokens", "1",
                              "--json"], check=True, capture_output=True, text=True).stdout
    return [json.loads(line)["prompt_ids"] for line in printed.splitlines()]


def main(base: str, chain: str, leash: str, seed: str, out: str) -> None:
    folder = pathlib.Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    merge(base, pathlib.Path(chain) / "warm_start/adapter", pathlib.Path(chain) / "reward/adapter", folder)
    # experiments/chain/prompts.py has put both files there.
    train = folder / "prompts.train.jsonl"
    lines = sorted(train.read_text().splitlines())
    random.Random(int(seed)).shuffle(lines)
    train.write_text("\n".join(lines) + "\n")
    for part in ("train", "held_out"):
        prompts = folder / f"prompts.{part}.jsonl"
        ids = ids_of(leash, folder / "start", prompts)
        (folder / f"prompts.{part}.ids.jsonl").write_text("".join(json.dumps({"token_ids": row}) + "\n" for row in ids))


main(*sys.argv[1:])
