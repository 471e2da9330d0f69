"""Golden numbers of reward training, from TRL's RewardTrainer (1.12) with PEFT on tiny_llama (fp32, eager attention).

    python tests/golden/make_reward.py

Writes reward/losses.json: RewardTrainer.compute_loss on given scores, its gradients and metrics (float64).
Writes reward/train.jsonl (pairs, as text), reward/start and reward/final (adapters in PEFT's format, with the score head) and
reward/log.json: what eight steps of the trainer logged, and the scores that transformers with PEFT gives the pairs under
reward/final. Tokens are bytes: byte b has the id 3 + b, and 2 is EOS (tests/rl/byte_tokenizer.h); capital letters keep the ids
below tiny_llama's vocabulary of 96.
"""
import json
import random
import tempfile
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForSequenceClassification, PreTrainedTokenizerFast
from trl import RewardConfig, RewardTrainer

HERE = Path(__file__).parent
OUT = HERE / "reward"
SETTINGS = dict(per_device_train_batch_size=2, gradient_accumulation_steps=2, max_steps=8, learning_rate=5e-3,
                lr_scheduler_type="cosine", weight_decay=0.01, max_grad_norm=3.5, adam_beta2=0.99,
                center_rewards_coefficient=0.1)


def loss_case(seed, pairs, margin, coefficient):
    """compute_loss of the real trainer; the model is one that returns the given scores."""
    generator = torch.Generator().manual_seed(seed)
    scores = (torch.randn(2 * pairs, 1, generator=generator, dtype=torch.float64) * 2).requires_grad_(True)
    inputs = dict(attention_mask=torch.ones(2 * pairs, 3))
    if margin:
        inputs["margin"] = torch.rand(pairs, generator=generator, dtype=torch.float64)
    def model(**_):
        return SimpleNamespace(logits=scores)

    model.training = True
    trainer = SimpleNamespace(args=SimpleNamespace(center_rewards_coefficient=coefficient), model=model, _total_train_tokens=0,
                              accelerator=SimpleNamespace(gather=lambda x: x, gather_for_metrics=lambda x: x),
                              _metrics=dict(train=defaultdict(list)))
    margins = inputs.get("margin", torch.zeros(pairs))
    loss = RewardTrainer.compute_loss(trainer, model, dict(inputs))
    (gradient,) = torch.autograd.grad(loss, scores)
    metrics = {key: values[0] for key, values in trainer._metrics["train"].items() if key != "num_tokens"}
    return dict(chosen=scores[:pairs, 0].tolist(), rejected=scores[pairs:, 0].tolist(), margin=margins.tolist(),
                coefficient=coefficient, loss=loss.item(), chosen_gradient=gradient[:pairs, 0].tolist(),
                rejected_gradient=gradient[pairs:, 0].tolist(), metrics=metrics)


def samples():
    draw = random.Random(5)
    words = ["THE", "CAT", "SAT", "ON", "A", "MAT", "AND", "SANG", "42", "TIMES", "WHY", "NOT", "BIRDS", "FLY"]

    def text(low, high):
        return " ".join(draw.choice(words) for _ in range(draw.randint(low, high)))

    result = []
    for i in range(12):  # a multiple of 4: TRL weighs micro-batches alike, whatever their size
        sample = dict(prompt=text(1, 4) + "? ", chosen=text(1, 5), rejected=text(1, 5), margin=round(draw.random(), 3))
        if i % 3 == 0:
            sample["rejected"] = sample["chosen"] + " " + sample["rejected"]  # they begin alike
        result.append(sample)
    return result


def ids(text):
    return [3 + byte for byte in text.encode()] + [2]


def features(sample):
    return dict(chosen_ids=ids(sample["prompt"] + sample["chosen"]), rejected_ids=ids(sample["prompt"] + sample["rejected"]),
                margin=sample["margin"])


def base():
    torch.manual_seed(13)
    model = AutoModelForSequenceClassification.from_pretrained(HERE / "tiny_llama", dtype=torch.float32, num_labels=1,
                                                               attn_implementation="eager")
    model.config.pad_token_id = 0
    return model


class InOrder(RewardTrainer):
    def _get_train_sampler(self, *args, **kwargs):
        return torch.utils.data.SequentialSampler(self.train_dataset)


def score(model, text):
    with torch.no_grad():
        return model(torch.tensor([ids(text)])).logits.item()


def main():
    OUT.mkdir(exist_ok=True)
    cases = [loss_case(seed, pairs, margin, coefficient)
             for seed, (pairs, margin, coefficient) in enumerate([(1, False, None), (5, False, None), (5, True, None),
                                                                  (4, False, 0.01), (6, True, 0.3)])]
    (OUT / "losses.json").write_text(json.dumps(cases, indent=0))
    data = samples()
    (OUT / "train.jsonl").write_text("".join(json.dumps(s) + "\n" for s in data))
    peft = get_peft_model(base(), LoraConfig(r=4, lora_alpha=8, lora_dropout=0.1, task_type="SEQ_CLS",
                                             target_modules=["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]))
    peft.peft_config["default"].base_model_name_or_path = "tiny_llama"
    with torch.no_grad():
        for name, parameter in peft.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.05)
            if "modules_to_save" in name:
                parameter.normal_(0, 0.2)
    peft.save_pretrained(OUT / "start")
    words = PreTrainedTokenizerFast(tokenizer_object=Tokenizer(WordLevel({"<|endoftext|>": 0, "<|im_end|>": 2}, "<|endoftext|>")),
                                    pad_token="<|endoftext|>", eos_token="<|im_end|>")
    with tempfile.TemporaryDirectory() as folder:
        arguments = RewardConfig(folder, warmup_steps=0.25, logging_steps=1, save_strategy="no", report_to=[], use_cpu=True,
                                 bf16=False, gradient_checkpointing=False, **SETTINGS)
        trainer = InOrder(peft, arguments, train_dataset=Dataset.from_list([features(s) for s in data]), processing_class=words)
        trainer.train()
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    peft.save_pretrained(OUT / "final")
    again = PeftModel.from_pretrained(base(), OUT / "final").eval()
    scores = [[score(again, s["prompt"] + s[key]) for key in ("chosen", "rejected")] for s in data]
    (OUT / "log.json").write_text(json.dumps(dict(settings=dict(SETTINGS, warmup_ratio=0.25), steps=log, scores=scores), indent=1))
    for folder in ("start", "final"):
        (OUT / folder / "README.md").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
