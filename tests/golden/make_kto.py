"""Golden numbers of KTO, from TRL's KTOTrainer (1.16) with PEFT on tiny_llama (fp32, eager attention).

    PYTHONPATH=/path/to/trl-1.16 python tests/golden/make_kto.py

Reads dpo/start (make_dpo.py). Writes kto/train.jsonl (judged answers, as text), kto/log.json (what ten steps of the trainer logged)
and kto/tensors.safetensors (gradients of the first step, and the adapter after the tenth), an entry per loss and setting.
Writes kto/tokens.json: how _prepare_dataset and the collator cut records of each format into tokens, mismatched pairs included.
Tokens are bytes as in make_dpo.py.
"""
import json
import random
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import torch
import trl
from datasets import Dataset
from peft import PeftModel
from safetensors.torch import save_file
from trl import KTOConfig, KTOTrainer
from trl.trainer.kto_trainer import DataCollatorForUnpairedPreference

sys.path.insert(0, str(Path(__file__).parent))
from make_dpo import SETTINGS, FirstGradients, base, byte_tokenizer  # noqa: E402

HERE = Path(__file__).parent
OUT = HERE / "kto"
LOSSES = {
    "kto": dict(),
    "weights": dict(beta=0.4, desirable_weight=1.3, undesirable_weight=0.7),
    "apo_zero_unpaired": dict(loss_type="apo_zero_unpaired", beta=0.3),
    "accumulated": dict(beta=0.3, per_device_train_batch_size=2, gradient_accumulation_steps=2),
    "adapter_off": dict(beta=0.05),
}


def samples():
    draw = random.Random(11)
    words = ["THE", "CAT", "SAT", "ON", "A", "MAT", "AND", "SANG", "42", "TIMES", "WHY", "NOT", "BIRDS", "FLY"]

    def text(low, high):
        return " ".join(draw.choice(words) for _ in range(draw.randint(low, high)))

    # A multiple of 4: TRL weighs micro-batches alike, whatever their size.
    return [dict(prompt=text(1, 4) + "? ", completion=text(1, 5), label=draw.random() < 0.6) for _ in range(12)]


def run(name, options, data, words):
    peft = PeftModel.from_pretrained(base(), HERE / "dpo" / "start", is_trainable=True)
    gradients = FirstGradients(peft)
    settings = dict(SETTINGS, **options)
    with tempfile.TemporaryDirectory() as folder:
        arguments = KTOConfig(folder, warmup_steps=0.25, logging_steps=1, save_strategy="no", report_to=[], use_cpu=True,
                              bf16=False, gradient_checkpointing=False, seed=3, **settings)
        trainer = KTOTrainer(peft, ref_model=base() if name == "adapter_off" else None, args=arguments,
                             train_dataset=Dataset.from_list(data), processing_class=words, callbacks=[gradients])
        trainer.train()
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    factor = log[0]["grad_norm"] / gradients.norm
    tensors = {f"{name}/gradient/{key}": value * factor for key, value in gradients.found.items()}
    for key, parameter in peft.named_parameters():
        if ".default." in key:
            tensors[f"{name}/final/{key.replace('.default', '')}"] = parameter.detach().clone()
    return dict(name=name, settings=dict(settings, warmup_ratio=0.25), steps=log), tensors


def texts():
    """Records of each format, each list as one data set."""
    single = [dict(prompt="Say: ", completion="yes", label=True), dict(prompt="Ä?", completion="ä", label=False),
              dict(prompt="long " * 6, completion="also rather long", label=True),
              dict(prompt="too long " * 9, completion="a", label=False),
              dict(prompt="ends<|im_end|>", completion="here<|im_end|>", label=False)]
    user, assistant = (lambda text: dict(role="user", content=text)), (lambda text: dict(role="assistant", content=text))
    chat = [dict(prompt=[user("Hi")], completion=[assistant("Hello")], label=True),
            dict(prompt=[user("a"), assistant("b"), user("c")], completion=[assistant("dd")], label=False)]
    pairs = [dict(prompt="Say: ", chosen="yes", rejected="no")]
    implicit = [dict(chosen="The sky is blue.", rejected="The sky is green.")]
    implicit_chat = [dict(chosen=[user("Hi"), assistant("Hello")], rejected=[user("Hi"), assistant("Nope")])]
    return [single, chat, pairs, implicit, implicit_chat]


def token_cases(words):
    sets = []
    for records in texts():
        for limit in (None, 40):
            arguments = SimpleNamespace(dataset_num_proc=None, max_length=limit, per_device_train_batch_size=2)
            trainer = SimpleNamespace(_tokenizer=words, calculate_KL=True)
            prepared = KTOTrainer._prepare_dataset(trainer, Dataset.from_list(records), words, arguments, "eval")
            rows = []
            for row in prepared:
                batch = DataCollatorForUnpairedPreference(pad_token_id=0, max_length=limit)([row])
                found = dict(label=bool(batch["label"][0]))
                for prefix in ("", "KL_"):
                    ids, answer = batch[f"{prefix}input_ids"][0], batch[f"{prefix}completion_mask"][0]
                    length = int(batch[f"{prefix}attention_mask"][0].sum())
                    found[f"{prefix}ids"] = ids[:length].tolist()
                    found[f"{prefix}begin"] = length - int(answer.sum())
                rows.append(found)
            sets.append(dict(max_length=limit, records=records, answers=rows))
    return sets


def main():
    assert trl.__version__.startswith("1.16"), trl.__version__
    OUT.mkdir(exist_ok=True)
    words = byte_tokenizer()
    (OUT / "tokens.json").write_text(json.dumps(token_cases(words)))
    data = samples()
    (OUT / "train.jsonl").write_text("".join(json.dumps(s) + "\n" for s in data))
    runs, tensors = [], {}
    for name, options in LOSSES.items():
        log, found = run(name, options, data, words)
        runs.append(log)
        tensors.update(found)
    (OUT / "log.json").write_text(json.dumps(runs, indent=0))
    save_file(tensors, OUT / "tensors.safetensors")


if __name__ == "__main__":
    sys.exit(main())
