"""Loads the adapter of a `task: classification` run with transformers and PEFT and compares its probabilities with the run's.

Run by the suite Peers of cli_test, or by hand:

    python tests/golden/check_classification_adapter.py BASE_FOLDER RUN_DIR HELD_OUT.jsonl STEP

The exit code is 1 when they differ.

BASE_FOLDER is the Hugging Face folder that the run's model.path names, HELD_OUT.jsonl its data.eval (lines with `text`), and STEP an
evaluated step whose adapter the run exported (the last one, unless load_best_model_at_end). Texts go through transformers padded,
eight at a time, with the names of labels.json.
"""
import json
import sys
import warnings

import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer


def main(base, run_dir, held_out, step):
    tokenizer = AutoTokenizer.from_pretrained(base)
    with open(f"{run_dir}/adapter/labels.json", encoding="utf-8") as file:
        labels = json.load(file)
    labels["id2label"] = {int(key): name for key, name in labels["id2label"].items()}  # JSON has no integer keys
    model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=len(labels["id2label"]), dtype=torch.float32,
                                                               attn_implementation="eager", pad_token_id=0, **labels)
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # PEFT only warns of missing and unexpected keys
        model = PeftModel.from_pretrained(model, f"{run_dir}/adapter").eval()
    with open(f"{run_dir}/evaluations/step-{step}.json", encoding="utf-8") as file:
        evaluation = json.load(file)
    with open(held_out, encoding="utf-8") as file:
        texts = [json.loads(line) for line in file if line.strip()]
    assert len(texts) == len(evaluation["texts"]), (len(texts), len(evaluation["texts"]))
    assert [model.config.id2label[i] for i in range(len(evaluation["classes"]))] == evaluation["classes"]
    worst = 0.0
    for start in range(0, len(texts), 8):
        ids = [tokenizer(text["text"])["input_ids"] for text in texts[start:start + 8]]
        longest = max(map(len, ids))
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row + [0] * (longest - len(row)) for row in ids]),
                           attention_mask=torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in ids])).logits
        for row, ours in zip(logits.log_softmax(-1), evaluation["texts"][start:start + 8]):
            worst = max(worst, abs(row[ours["label"]].item() + ours["nll"]))
            assert row.argmax().item() == ours["predicted"]
    print(f"{len(texts)} texts, equal predictions, largest difference of a log-probability {worst:.2e}")
    return worst > 1e-4


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
