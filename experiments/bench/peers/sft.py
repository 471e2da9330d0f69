"""Supervised LoRA steps of transformers' Trainer with PEFT: the cases supervised-8x256 and supervised-ragged of leash_bench."""
import tempfile

import torch
from peft import get_peft_model
from transformers import (AutoModelForCausalLM, AutoTokenizer, DataCollatorForLanguageModeling, Trainer, TrainerCallback,
                          TrainingArguments)

from common import arguments, lora, median, now, random_ids, report

BATCH = 8


def ragged_lengths(count: int) -> list[int]:
    """20 to 400 tokens, evenly spread; the same numbers stand in training.cpp."""
    return [20 + (380 * ((i * 7) % count)) // (count - 1) for i in range(count)]


class Clock(TrainerCallback):
    def __init__(self) -> None:
        self.marks: list[float] = []

    def on_step_end(self, *args, **kwargs) -> None:
        self.marks.append(now())


def main() -> None:
    args = arguments(__doc__, texts=["8x256", "ragged"], checkpointing=["no", "yes"])
    steps = args.repeats + 1
    lengths = [256] * (BATCH * steps) if args.texts == "8x256" else ragged_lengths(BATCH) * steps
    ids = [row[:length] for row, length in zip(random_ids(len(lengths), max(lengths)), lengths)]
    tokenizer = AutoTokenizer.from_pretrained(args.checkpoint)
    tokenizer.pad_token = tokenizer.eos_token
    model = get_peft_model(AutoModelForCausalLM.from_pretrained(args.checkpoint, dtype=args.dtype), lora())
    clock = Clock()
    trainer = Trainer(
        model=model, callbacks=[clock],
        args=TrainingArguments(
            output_dir=tempfile.mkdtemp(), per_device_train_batch_size=BATCH, max_steps=steps, learning_rate=2.5e-4,
            optim="adamw_torch", use_cpu=args.device == "cpu", report_to=[], save_strategy="no", logging_strategy="no", disable_tqdm=True,
            gradient_checkpointing=args.checkpointing == "yes", train_sampling_strategy="sequential"),
        train_dataset=[{"input_ids": row, "attention_mask": [1] * len(row)} for row in ids],
        data_collator=DataCollatorForLanguageModeling(tokenizer, mlm=False))
    trainer.train()
    seconds = [b - a for a, b in zip(clock.marks, clock.marks[1:])]
    name = "supervised-" + args.texts + ("-checkpointed" if args.checkpointing == "yes" else "")
    tokens = sum(lengths[:BATCH])
    report("transformers", args, [(name, tokens / median(seconds), "tok/s"), (name + "-tokens", tokens, "tokens")])


main()
