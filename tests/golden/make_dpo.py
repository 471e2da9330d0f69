"""Golden numbers of DPO, from TRL's DPOTrainer (1.16) with PEFT on tiny_llama (fp32, eager attention).

    PYTHONPATH=/path/to/trl-1.16 python tests/golden/make_dpo.py

Writes dpo/losses.json: DPOTrainer._compute_loss on given log-probs (float64), its gradients and metrics, an entry per loss.
Writes dpo/train.jsonl (pairs, as text), dpo/start (an adapter in PEFT's format), dpo/log.json (what ten steps of the trainer
logged) and dpo/tensors.safetensors (gradients of the first step, and the adapter after the tenth), an entry per loss.
Writes dpo/tokens.json: how _prepare_dataset and the collator cut records of each format into tokens.
Tokens are bytes: byte b has the id 3 + b, and 2 is EOS (tests/rl/byte_tokenizer.h); capital letters keep the ids below
tiny_llama's vocabulary of 96.
"""
import json
import random
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import torch
import trl
from datasets import Dataset
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast, TrainerCallback
from trl import DPOConfig, DPOTrainer
from trl.trainer.dpo_trainer import DataCollatorForPreference

HERE = Path(__file__).parent
OUT = HERE / "dpo"
CHAT_ML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
           "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
SETTINGS = dict(per_device_train_batch_size=4, max_steps=10, learning_rate=5e-3, lr_scheduler_type="cosine", weight_decay=0.01,
                max_grad_norm=1.0, adam_beta2=0.99)
LOSSES = {
    "sigmoid": dict(),
    "hinge": dict(loss_type="hinge", beta=0.5),
    "ipo": dict(loss_type="ipo", beta=0.3),
    "robust": dict(loss_type="robust", label_smoothing=0.1, beta=0.4),
    "apo_zero": dict(loss_type="apo_zero", beta=0.2),
    "apo_down": dict(loss_type="apo_down", beta=0.2),
    "sppo_hard": dict(loss_type="sppo_hard", beta=0.6),
    "sft": dict(loss_type="sft"),
    "several": dict(loss_type=["sigmoid", "ipo", "sft"], loss_weights=[0.8, 0.2, 1.0], beta=0.2),
    "ld_alpha": dict(loss_type=["apo_zero", "sft"], ld_alpha=0.4),
    "accumulated": dict(per_device_train_batch_size=2, gradient_accumulation_steps=2),
    "precomputed": dict(precompute_ref_log_probs=True, ld_alpha=0.3, beta=0.3),
    "adapter_off": dict(beta=0.3),
}


def byte_tokenizer():
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    printable = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    names = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        names.setdefault(byte, chr(0x100 + len([b for b in range(byte) if b not in printable])))
    assert sorted(names.values()) == alphabet
    vocabulary = {"<|endoftext|>": 0, "<|im_start|>": 1, "<|im_end|>": 2, **{names[b]: 3 + b for b in range(256)}}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.add_special_tokens(["<|endoftext|>", "<|im_start|>", "<|im_end|>"])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<|endoftext|>", eos_token="<|im_end|>",
                                   chat_template=CHAT_ML)


def loss_case(seed, name, pairs, alpha, options):
    """_compute_loss of the real trainer; the model is one that returns the given log-probs."""
    generator = torch.Generator().manual_seed(seed)
    prompt = 2
    lengths = torch.randint(1, 7, (2 * pairs,), generator=generator)
    width = prompt + int(lengths.max())
    mask = torch.zeros(2 * pairs, width, dtype=torch.long)
    for row, length in enumerate(lengths):
        mask[row, prompt:prompt + length] = 1
    shifted = mask[:, 1:]
    def draw():
        return -torch.rand(2 * pairs, width - 1, generator=generator, dtype=torch.float64) * 3 * shifted
    logprobs, reference = draw().requires_grad_(True), draw()
    trainer = SimpleNamespace(accelerator=SimpleNamespace(device="cpu", gather=lambda x: x, gather_for_metrics=lambda x: x),
                              aux_loss_enabled=False, ld_alpha=alpha, precompute_ref_logps=True, f_divergence_type="reverse_kl",
                              loss_types=options["types"], loss_weights=options["weights"], beta=options["beta"],
                              label_smoothing=options["label_smoothing"], use_weighting=False, _total_train_tokens=0, _tp_size=1,
                              _metrics=dict(train=defaultdict(list)), model=SimpleNamespace(training=True))
    class Model:
        def __call__(self, **_):
            zeros = torch.zeros_like(logprobs)
            return SimpleNamespace(log_probs=logprobs * shifted, entropy=zeros, mean_logits=zeros, is_top1=zeros.bool())

        training = True
    weights = torch.ones_like(reference)
    if alpha is not None:
        both = torch.minimum(lengths[:pairs], lengths[pairs:]).repeat(2)
        weights = torch.where(shifted.cumsum(1) <= both.unsqueeze(1), 1.0, alpha).double()
    sums = (reference * weights * shifted).sum(1)
    inputs = dict(input_ids=torch.ones_like(mask), attention_mask=torch.ones_like(mask), completion_mask=mask,
                  ref_chosen_logps=sums[:pairs], ref_rejected_logps=sums[pairs:])
    loss = DPOTrainer._compute_loss(trainer, Model(), inputs, False)
    (gradient,) = torch.autograd.grad(loss, logprobs)
    rows = [logprobs[i][shifted[i] == 1].tolist() for i in range(2 * pairs)]
    gradients = [gradient[i][shifted[i] == 1].tolist() for i in range(2 * pairs)]
    metrics = {key: values[0] for key, values in trainer._metrics["train"].items() if key.split("/")[0] in ("rewards", "logps")}
    return dict(name=name, options=options, ld_alpha=alpha, chosen=rows[:pairs], rejected=rows[pairs:],
                reference_chosen=sums[:pairs].tolist(), reference_rejected=sums[pairs:].tolist(), loss=loss.item(),
                chosen_gradient=gradients[:pairs], rejected_gradient=gradients[pairs:], metrics=metrics)


def loss_cases():
    cases = []
    for seed, (name, alpha, given) in enumerate([
            ("sigmoid", None, {}), ("sigmoid", 0.5, {}), ("hinge", None, dict(beta=0.4)), ("ipo", None, dict(beta=0.3)),
            ("ipo", 0.0, dict(beta=0.3)), ("robust", None, dict(label_smoothing=0.2, beta=0.5)), ("apo_zero", None, {}),
            ("apo_down", None, dict(beta=0.3)), ("sppo_hard", None, dict(beta=0.7)), ("sft", 0.25, {}),
            ("several", 0.75, dict(types=["sigmoid", "sft", "sppo_hard"], weights=[0.8, 2.0, 0.1]))]):
        options = dict(dict(types=[name], weights=[1.0], beta=0.1, label_smoothing=0.0), **given)
        cases.append(loss_case(seed, name, 5, alpha, options))
    return cases


def samples():
    draw = random.Random(7)
    words = ["THE", "CAT", "SAT", "ON", "A", "MAT", "AND", "SANG", "42", "TIMES", "WHY", "NOT", "BIRDS", "FLY"]

    def text(low, high):
        return " ".join(draw.choice(words) for _ in range(draw.randint(low, high)))

    result = []
    for i in range(12):  # a multiple of 4: TRL weighs micro-batches alike, whatever their size
        sample = dict(prompt=text(1, 4) + "? ", chosen=text(1, 5), rejected=text(1, 5))
        if i % 3 == 0:
            sample["rejected"] = sample["chosen"] + " " + sample["rejected"]  # they begin alike
        result.append(sample)
    return result


def base():
    return AutoModelForCausalLM.from_pretrained(HERE / "tiny_llama", dtype=torch.float32, attn_implementation="eager")


class InOrder(DPOTrainer):
    def _get_train_sampler(self, *args, **kwargs):
        return torch.utils.data.SequentialSampler(self.train_dataset)


class FirstGradients(TrainerCallback):
    """As autograd left them, before they are clipped."""

    def __init__(self, model):
        self.model = model
        self.found = {}

    def on_pre_optimizer_step(self, args, state, control, **kwargs):
        if state.global_step == 0:
            norm = torch.stack([p.grad.norm() for p in self.model.parameters() if p.grad is not None]).norm()
            for name, parameter in self.model.named_parameters():
                if parameter.grad is not None:
                    self.found[name.replace(".default", "")] = parameter.grad.clone()
            self.norm = norm.item()


def start_adapter():
    torch.manual_seed(17)
    peft = get_peft_model(base(), LoraConfig(r=2, lora_alpha=8, lora_dropout=0.1, task_type="CAUSAL_LM",
                                             target_modules=["q_proj", "o_proj", "down_proj"]))
    peft.peft_config["default"].base_model_name_or_path = "tiny_llama"
    with torch.no_grad():
        for name, parameter in peft.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.05)
    peft.save_pretrained(OUT / "start")


def run(name, options, data, words):
    peft = PeftModel.from_pretrained(base(), OUT / "start", is_trainable=True)
    gradients = FirstGradients(peft)
    settings = dict(SETTINGS, **options)
    with tempfile.TemporaryDirectory() as folder:
        arguments = DPOConfig(folder, warmup_steps=0.25, logging_steps=1, save_strategy="no", report_to=[], use_cpu=True,
                              bf16=False, gradient_checkpointing=False, seed=3, **settings)
        if name == "adapter_off":  # what a fresh adapter is compared with; the start is far from it
            trainer = InOrder(peft, ref_model=base(), args=arguments, train_dataset=Dataset.from_list(data),
                              processing_class=words, callbacks=[gradients])
        else:
            trainer = InOrder(peft, args=arguments, train_dataset=Dataset.from_list(data), processing_class=words,
                              callbacks=[gradients])
        trainer.train()
    log = [entry for entry in trainer.state.log_history if "loss" in entry]
    # Clipped gradients are what the callback sees: undo it.
    factor = log[0]["grad_norm"] / gradients.norm
    tensors = {f"{name}/gradient/{key}": value * factor for key, value in gradients.found.items()}
    for key, parameter in peft.named_parameters():
        if ".default." in key:
            tensors[f"{name}/final/{key.replace('.default', '')}"] = parameter.detach().clone()
    return dict(name=name, settings=dict(settings, warmup_ratio=0.25), steps=log), tensors


def texts():
    """Records of each format, each list as one data set."""
    explicit = [dict(prompt="Say: ", chosen="yes", rejected="no"), dict(prompt="Ä?", chosen="äb", rejected="ä"),
                dict(prompt="long " * 6, chosen="short", rejected="also rather long"),
                dict(prompt="too long " * 9, chosen="a", rejected="b"),
                dict(prompt="ends<|im_end|>", chosen="here<|im_end|>", rejected="there")]
    implicit = [dict(chosen="The sky is blue.", rejected="The sky is green."), dict(chosen="It is bläck", rejected="It is blüe"),
                dict(chosen="Q: why?\nA: so", rejected="Q: why?\nA: thus"), dict(chosen="abc", rejected="abcd"),
                dict(chosen="x", rejected="y")]
    user, assistant = (lambda text: dict(role="user", content=text)), (lambda text: dict(role="assistant", content=text))
    chat = [dict(prompt=[user("Hi")], chosen=[assistant("Hello")], rejected=[assistant("No")]),
            dict(prompt=[user("a"), assistant("b"), user("c")], chosen=[assistant("d")], rejected=[assistant("dd")])]
    implicit_chat = [dict(chosen=[user("Hi"), assistant("Hello")], rejected=[user("Hi"), assistant("Nope")])]
    return [explicit, implicit, chat, implicit_chat]


def token_cases(words):
    trainer = SimpleNamespace(_tokenizer=words)
    sets = []
    for records in texts():
        for limit in (None, 40):
            arguments = SimpleNamespace(dataset_num_proc=None, max_length=limit, truncation_mode="keep_start")
            prepared = DPOTrainer._prepare_dataset(trainer, Dataset.from_list(records), words, arguments, "train")
            rows = []
            for row in prepared:
                batch = DataCollatorForPreference(pad_token_id=0, max_length=limit)([row])
                texts_of_pair = []
                for ids, attention, answer in zip(batch["input_ids"], batch["attention_mask"], batch["completion_mask"]):
                    length = int(attention.sum())
                    texts_of_pair.append(dict(ids=ids[:length].tolist(), begin=length - int(answer.sum())))
                rows.append(texts_of_pair)
            sets.append(dict(max_length=limit, records=records, pairs=rows))
    return sets


def main():
    assert trl.__version__.startswith("1.16"), trl.__version__
    OUT.mkdir(exist_ok=True)
    (OUT / "losses.json").write_text(json.dumps(loss_cases(), indent=0))
    words = byte_tokenizer()
    (OUT / "tokens.json").write_text(json.dumps(token_cases(words)))
    data = samples()
    (OUT / "train.jsonl").write_text("".join(json.dumps(s) + "\n" for s in data))
    start_adapter()
    runs, tensors = [], {}
    for name, options in LOSSES.items():
        log, found = run(name, options, data, words)
        runs.append(log)
        tensors.update(found)
    (OUT / "log.json").write_text(json.dumps(runs, indent=0))
    save_file(tensors, OUT / "tensors.safetensors")
    (OUT / "start" / "README.md").unlink(missing_ok=True)


if __name__ == "__main__":
    sys.exit(main())
