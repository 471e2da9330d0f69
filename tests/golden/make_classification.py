"""Golden numbers of text classification, from transformers' Trainer and *ForSequenceClassification with PEFT on tiny_llama.

    python tests/golden/make_classification.py       (torch 2.11, transformers 5.23, peft 0.21)

Writes classification/data.jsonl (texts with names as labels) and, for each of two adapters, a folder:
  lora/  LoRA on some modules, with modules of the last layer and the final norm trained whole and the score head of three classes
  top/   no LoRA at all (PEFT's dummy-target-modules): the last layer's MLP and norm, the final norm, and the head
with start/ and final/ (adapters in PEFT's format), gradients.safetensors (of the unsmoothed loss on all texts, fp32) and log.json:
logits and loss under start, the loss smoothed as Trainer's LabelSmoother does, what eight steps of Trainer logged from start on, and
logits under final. measures.json: precision, recall, F1 and macro F1 of some labels and predictions by their definitions.

The texts go through transformers as one padded batch: what is read at the last token must not depend on padding. Tokens are bytes:
byte b has the id 3 + b (tests/rl/byte_tokenizer.h); capital letters keep the ids below tiny_llama's vocabulary of 96.
"""
import json
import random
import tempfile
from fractions import Fraction
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForSequenceClassification, Trainer, TrainingArguments
from transformers.trainer_pt_utils import LabelSmoother

HERE = Path(__file__).parent
OUT = HERE / "classification"
LABELS = ["BIRD", "CAT", "DOG"]
SMOOTHING = 0.1
SETTINGS = dict(per_device_train_batch_size=3, gradient_accumulation_steps=2, max_steps=8, learning_rate=1e-3,
                lr_scheduler_type="cosine", weight_decay=0.01, max_grad_norm=2.0, adam_beta2=0.99,
                label_smoothing_factor=SMOOTHING)
COPIES = ["model.layers.1.mlp.gate_proj", "model.layers.1.post_attention_layernorm", "model.layers.1.self_attn.k_proj", "model.norm"]
TOP = ["model.layers.1.post_attention_layernorm", "model.layers.1.mlp.gate_proj", "model.layers.1.mlp.up_proj",
       "model.layers.1.mlp.down_proj", "model.norm"]
ADAPTERS = {
    "lora": LoraConfig(r=4, lora_alpha=8, task_type="SEQ_CLS", target_modules=["q_proj", "v_proj", "gate_proj", "down_proj"],
                       modules_to_save=COPIES),
    "top": LoraConfig(task_type="SEQ_CLS", target_modules="dummy-target-modules", modules_to_save=TOP),
}


def samples():
    draw = random.Random(3)
    words = {"BIRD": ["SINGS", "FLIES", "NEST"], "CAT": ["PURRS", "CLIMBS", "MOUSE"], "DOG": ["BARKS", "FETCH", "BONE"]}
    result = []
    for i in range(18):  # a multiple of 6, so that Trainer's mean of means is the mean over the batch
        label = LABELS[(i * 7 + i // 3) % 3]
        text = " ".join(draw.choice(words[label] + ["THE", "A", "IT"]) for _ in range(draw.randint(1, 6)))
        result.append(dict(text=text, label=label))
    return result


def ids(text):
    return [3 + byte for byte in text.encode()]


def padded(data):
    longest = max(len(ids(s["text"])) for s in data)
    rows = [ids(s["text"]) for s in data]
    return dict(input_ids=torch.tensor([row + [0] * (longest - len(row)) for row in rows]),
                attention_mask=torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows]),
                labels=torch.tensor([LABELS.index(s["label"]) for s in data]))


def base():
    torch.manual_seed(17)
    return AutoModelForSequenceClassification.from_pretrained(HERE / "tiny_llama", dtype=torch.float32, num_labels=len(LABELS),
                                                              attn_implementation="eager", pad_token_id=0)


def logits(model, data):
    batch = padded(data)
    batch.pop("labels")
    with torch.no_grad():
        return model.eval()(**batch).logits


def peft_names(model):
    """What the adapter's file calls each trained parameter."""
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            yield name.replace(".modules_to_save.default", "").replace(".default", ""), parameter


class InOrder(Trainer):
    def _get_train_sampler(self, *args, **kwargs):
        return torch.utils.data.SequentialSampler(self.train_dataset)


def train(model, data):
    features = [dict(input_ids=ids(s["text"]), labels=LABELS.index(s["label"]), text=s) for s in data]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(folder, warmup_steps=0.25, logging_steps=1, save_strategy="no", report_to=[], use_cpu=True,
                                      remove_unused_columns=False, **SETTINGS)
        trainer = InOrder(model, arguments, train_dataset=features, data_collator=lambda rows: padded([row["text"] for row in rows]))
        trainer.train()
    return [entry for entry in trainer.state.log_history if "loss" in entry]


def write(name, config, data):
    out = OUT / name
    out.mkdir(parents=True, exist_ok=True)
    model = get_peft_model(base(), config)
    model.peft_config["default"].base_model_name_or_path = "tiny_llama"
    model.peft_config["default"].modules_to_save = list(config.modules_to_save)
    torch.manual_seed(23)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if not parameter.requires_grad:
                continue
            if "lora_B" in parameter_name:
                parameter.normal_(0, 0.05)
            elif "modules_to_save" in parameter_name:
                parameter.add_(torch.randn_like(parameter) * (0.3 if "score" in parameter_name else 0.05))
    model.save_pretrained(out / "start")
    again = PeftModel.from_pretrained(base(), out / "start")
    start = logits(again, data)
    assert torch.equal(start, logits(model, data))
    output = model.eval()(**padded(data))
    output.loss.backward()
    save_file({parameter_name: parameter.grad.clone() for parameter_name, parameter in peft_names(model)},
              out / "gradients.safetensors")
    model.zero_grad()
    with torch.no_grad():
        smoothed = LabelSmoother(epsilon=SMOOTHING)(dict(logits=output.logits), padded(data)["labels"])
    result = dict(settings=dict(SETTINGS, warmup_ratio=0.25), logits=start.tolist(), loss=output.loss.item(),
                  smoothing=SMOOTHING, smoothed_loss=smoothed.item(), trainable=sum(p.numel() for _, p in peft_names(model)))
    result["steps"] = train(model, data)
    model.save_pretrained(out / "final")
    result["final_logits"] = logits(PeftModel.from_pretrained(base(), out / "final"), data).tolist()
    (out / "log.json").write_text(json.dumps(result, indent=0))
    for folder in ("start", "final"):
        (out / folder / "README.md").unlink(missing_ok=True)


def ratio(part, whole):
    return float(Fraction(part, whole)) if whole else 0.0


def measures(classes, labels, predicted):
    rows, f1s = [], []
    for c in range(classes):
        right = sum(a == b == c for a, b in zip(labels, predicted))
        wrong = sum(b == c != a for a, b in zip(labels, predicted))
        missed = sum(a == c != b for a, b in zip(labels, predicted))
        precision, recall = ratio(right, right + wrong), ratio(right, right + missed)
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        rows.append(dict(precision=precision, recall=recall, f1=f1, texts=right + missed, predicted=right + wrong))
        if right + wrong + missed:
            f1s.append(f1)
    return dict(classes=classes, labels=labels, predicted=predicted, scores=rows, macro_f1=sum(f1s) / len(f1s),
                accuracy=sum(a == b for a, b in zip(labels, predicted)) / len(labels))


def main():
    OUT.mkdir(exist_ok=True)
    data = samples()
    (OUT / "data.jsonl").write_text("".join(json.dumps(s) + "\n" for s in data))
    for name, config in ADAPTERS.items():
        write(name, config, data)
    cases = [measures(3, [0, 0, 1, 1, 2, 2, 2], [0, 1, 1, 1, 2, 0, 2]), measures(2, [0, 0, 0, 1], [0, 0, 0, 0]),
             measures(4, [0, 1, 3, 3], [0, 3, 3, 1])]  # the last has a class that nobody has
    (OUT / "measures.json").write_text(json.dumps(cases, indent=0))


if __name__ == "__main__":
    main()
