"""Golden trajectory of supervised fine-tuning: ten steps of transformers.Trainer + PEFT on tiny_llama (fp32, eager attention).

    python tests/golden/make_sft.py

Writes sft/train.jsonl (the samples, as text), sft/start and sft/final (adapters in PEFT's format), sft/log.json (what
Trainer logged at every step) and sft/log_smoothed.json (the same from sft/start with label smoothing). Tokens are bytes: byte b has the id 3 + b, and 2 is EOS (tests/rl/byte_tokenizer.h); capital
letters keep the ids below tiny_llama's vocabulary of 96.
"""
import json
import random
import tempfile
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM, Trainer, TrainingArguments

HERE = Path(__file__).parent
OUT = HERE / "sft"
SETTINGS = dict(per_device_train_batch_size=2, gradient_accumulation_steps=4, max_steps=10, learning_rate=5e-3,
                lr_scheduler_type="cosine", weight_decay=0.01, max_grad_norm=1.25, adam_beta2=0.99)


def samples():
    draw = random.Random(3)
    words = ["THE", "CAT", "SAT", "ON", "A", "MAT", "AND", "SANG", "42", "TIMES", "WHY", "NOT", "BIRDS", "FLY"]
    result = []
    for i in range(22):  # no multiple of 8: the last batch of an epoch is smaller
        text = " ".join(draw.choice(words) for _ in range(draw.randint(2, 12)))
        if i % 3 == 0:
            result.append(dict(text=text))
        else:
            cut = draw.randint(1, len(text) - 2)
            result.append(dict(prompt=text[:cut], completion=text[cut:]))
    return result


def features(sample):
    prompt = [3 + b for b in sample.get("prompt", "").encode()]
    rest = [3 + b for b in sample.get("completion", sample.get("text", "")).encode()] + [2]
    return dict(input_ids=prompt + rest, labels=[-100] * len(prompt) + rest)


def collate(batch):
    length = max(len(f["input_ids"]) for f in batch)

    def padded(key, value):
        return torch.tensor([f[key] + [value] * (length - len(f[key])) for f in batch])

    ids = padded("input_ids", 0)
    mask = torch.tensor([[1] * len(f["input_ids"]) + [0] * (length - len(f["input_ids"])) for f in batch])
    return dict(input_ids=ids, labels=padded("labels", -100), attention_mask=mask)


class InOrder(Trainer):
    def _get_train_sampler(self, *args, **kwargs):
        return torch.utils.data.SequentialSampler(self.train_dataset)


def train(peft, data, **more):
    """Ten steps; what was logged at each."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(folder, warmup_steps=0.25, logging_steps=1, save_strategy="no", report_to=[], use_cpu=True,
                                      remove_unused_columns=False, **SETTINGS, **more)
        trainer = InOrder(peft, arguments, train_dataset=[features(s) for s in data], data_collator=collate)
        trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def base():
    return AutoModelForCausalLM.from_pretrained(HERE / "tiny_llama", dtype=torch.float32, attn_implementation="eager")


def smoothed():
    """The same steps with label smoothing."""
    data = samples()
    peft = PeftModel.from_pretrained(base(), OUT / "start", is_trainable=True)
    log = train(peft, data, label_smoothing_factor=0.2)
    (OUT / "log_smoothed.json").write_text(json.dumps(dict(label_smoothing_factor=0.2, steps=log), indent=1))


def main():
    torch.manual_seed(11)
    OUT.mkdir(exist_ok=True)
    data = samples()
    (OUT / "train.jsonl").write_text("".join(json.dumps(s) + "\n" for s in data))
    peft = get_peft_model(base(), LoraConfig(r=4, lora_alpha=8, lora_dropout=0.0, task_type="CAUSAL_LM",
                                            target_modules=["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]))
    peft.peft_config["default"].base_model_name_or_path = "tiny_llama"
    with torch.no_grad():
        for name, parameter in peft.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.05)
    peft.save_pretrained(OUT / "start")
    log = train(peft, data)
    (OUT / "log.json").write_text(json.dumps(dict(settings=dict(SETTINGS, warmup_ratio=0.25), steps=log), indent=1))
    peft.save_pretrained(OUT / "final")
    for folder in ("start", "final"):
        (OUT / folder / "README.md").unlink(missing_ok=True)
    smoothed()


if __name__ == "__main__":
    main()
