"""Writes tests/golden/peft/: what PEFT 0.21 addresses for various configurations, and adapters it wrote.

  python tests/golden/make_peft.py       (torch 2.11, transformers 5.23, peft 0.21)

matching.json   {"modules": [...], "cases": [{"name", "config", "targets": [[path, r, scaling]...], "saved": [...],
                "biases": [...], "line", "tensors": [[name, shape]...]}]}, or "error": true where PEFT raises.
plain/ saved/ biases/ seq_cls/ head/   adapter folders with random tensors.
"""
import json
import os
import shutil
import tempfile

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from peft import LoraConfig, get_peft_model
from peft.tuners.lora import LoraLayer
from peft.utils.other import ModulesToSaveWrapper
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification
from transformers.models.llama.modeling_llama import LlamaRMSNorm

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "peft")


def model(cls=LlamaForCausalLM, **changes):
    torch.manual_seed(0)
    return cls(LlamaConfig(hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
                           num_key_value_heads=2, vocab_size=40, max_position_embeddings=64, attention_bias=True,
                           tie_word_embeddings=False, **changes))


def describe(module):
    if isinstance(module, torch.nn.Linear):
        return "linear", module.in_features, module.out_features, module.bias is not None
    if isinstance(module, torch.nn.Embedding):
        return "embedding", module.num_embeddings, module.embedding_dim, False
    if isinstance(module, LlamaRMSNorm):
        return "norm", module.weight.numel(), module.weight.numel(), False
    return None


def modules_of(base):
    found = []
    for path, module in base.named_modules():
        facts = describe(module)
        if facts:
            found.append({"path": path, "kind": facts[0], "in": facts[1], "out": facts[2], "bias": facts[3]})
    return found


def strip(name):
    return name.removeprefix("base_model.model.")


def parameters_line(peft_model):
    trainable, total = peft_model.get_nb_trainable_parameters()
    return f"trainable params: {trainable:,d} || all params: {total:,d} || trainable%: {100 * trainable / total:.4f}"


def written(peft_model):
    with tempfile.TemporaryDirectory() as folder:
        peft_model.save_pretrained(folder)
        with safe_open(os.path.join(folder, "adapter_model.safetensors"), "pt") as file:
            tensors = sorted([name, list(file.get_slice(name).get_shape())] for name in file.keys())
        with open(os.path.join(folder, "adapter_config.json")) as file:
            return tensors, json.load(file)


def case(name, base, **settings):
    # The first pattern that fits decides, and the file has them sorted.
    for key in {"rank_pattern", "alpha_pattern"} & settings.keys():
        settings[key] = dict(sorted(settings[key].items()))
    config = LoraConfig(**settings)
    before = config.to_dict()
    result = {"name": name, "config": {}}
    for key in ("r", "lora_alpha", "target_modules", "exclude_modules", "bias", "task_type", "use_rslora",
                "modules_to_save", "layers_to_transform", "rank_pattern", "alpha_pattern"):
        value = before[key]
        result["config"][key] = sorted(value) if isinstance(value, set) else value
    result["config"]["peft_type"] = "LORA"
    base_parameters = sum(p.numel() for p in base.parameters())
    try:
        peft_model = get_peft_model(base, config)
    except (ValueError, TypeError) as error:
        print(name, "->", type(error).__name__, str(error)[:150])
        result["error"] = True
        return result
    result["base_parameters"] = base_parameters
    result["targets"] = [[strip(path), layer.r["default"], layer.scaling["default"]]
                         for path, layer in peft_model.named_modules() if isinstance(layer, LoraLayer)]
    result["saved"] = [strip(path) for path, layer in peft_model.named_modules()
                       if isinstance(layer, ModulesToSaveWrapper)]
    result["line"] = parameters_line(peft_model)
    result["tensors"], _ = written(peft_model)
    print(name, "->", len(result["targets"]), "targets,", len(result["saved"]), "saved")
    return result


def matching():
    lm = dict(task_type="CAUSAL_LM")
    qv = ["q_proj", "v_proj"]
    cases = [
        case("names", model(), target_modules=qv, r=4, lora_alpha=6, **lm),
        case("whole path", model(), target_modules=["model.layers.1.mlp.up_proj"], **lm),
        case("path end", model(), target_modules=["mlp.up_proj", "1.self_attn.q_proj"], **lm),
        case("no partial names", model(), target_modules=["proj"], **lm),
        case("regex", model(), target_modules=r".*\.layers\.[02]\.self_attn\.(q|k)_proj", **lm),
        case("regex must match whole", model(), target_modules=r"self_attn\.q_proj", **lm),
        case("regex lookahead", model(), target_modules=r"model\.layers\.\d+\.(?!mlp)\w+\.[qkvo]_proj", **lm),
        case("all-linear", model(), target_modules="all-linear", **lm),
        case("all-linear in capitals", model(), target_modules="ALL-Linear", **lm),
        case("lm_head by name", model(), target_modules=["lm_head", "q_proj"], **lm),
        case("exclude names", model(), target_modules="all-linear", exclude_modules=["mlp.up_proj", "o_proj"], **lm),
        case("exclude regex", model(), target_modules=qv, exclude_modules=r".*layers\.1\..*", **lm),
        case("layers", model(), target_modules=qv, layers_to_transform=[0, 2], **lm),
        case("layers leave whole paths alone", model(), layers_to_transform=[0],
             target_modules=["model.layers.1.self_attn.q_proj", "v_proj"], **lm),
        case("no such layer", model(), target_modules=qv, layers_to_transform=[7], **lm),
        case("rank and alpha patterns", model(), target_modules=qv + ["up_proj"], r=4, lora_alpha=10,
             rank_pattern={"q_proj": 2, r"layers\.1\..*": 3, "proj": 9},
             alpha_pattern={"model.layers.0.self_attn.v_proj": 5, "up_proj": 7.5}, **lm),
        case("rank-stabilised", model(), target_modules=qv, r=5, lora_alpha=3, use_rslora=True,
             rank_pattern={"v_proj": 3}, **lm),
        case("modules_to_save", model(), target_modules="all-linear", modules_to_save=["lm_head", "norm"], **lm),
        case("modules_to_save by ending", model(), target_modules=["q_proj"], modules_to_save=["layernorm"], **lm),
        case("saved embedding", model(), target_modules=["q_proj"], modules_to_save=["embed_tokens"], **lm),
        case("saved and targeted", model(), target_modules=["q_proj", "v_proj"], modules_to_save=["v_proj"], **lm),
        case("bias all", model(), target_modules=["q_proj"], bias="all", **lm),
        case("bias lora_only", model(), target_modules=["q_proj", "up_proj"], bias="lora_only", **lm),
        case("a norm", model(), target_modules=["q_proj", "norm"], **lm),
        case("a block", model(), target_modules=["mlp"], **lm),
        case("a block by regex", model(), target_modules=".*self_attn.*", **lm),
        case("nothing", model(), target_modules=["c_attn"], **lm),
    ]
    seq_cls = [case("score", model(LlamaForSequenceClassification, num_labels=1), target_modules="all-linear",
                    task_type="SEQ_CLS"),
               case("score and norm", model(LlamaForSequenceClassification, num_labels=1), target_modules=qv,
                    modules_to_save=["model.norm"], task_type="SEQ_CLS")]
    return {"causal_lm": {"modules": modules_of(model()), "cases": cases},
            "seq_cls": {"modules": modules_of(model(LlamaForSequenceClassification, num_labels=1)),
                        "cases": seq_cls}}


def folder(name, base, **settings):
    peft_model = get_peft_model(base, LoraConfig(**settings))
    peft_model.peft_config["default"].base_model_name_or_path = "tiny-llama"
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for path, parameter in peft_model.named_parameters():
            if parameter.requires_grad:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.1)
    out = os.path.join(OUT, name)
    peft_model.save_pretrained(out)
    os.remove(os.path.join(out, "README.md"))


if __name__ == "__main__":
    shutil.rmtree(OUT, ignore_errors=True)
    os.makedirs(OUT)
    with open(os.path.join(OUT, "matching.json"), "w") as out_file:
        json.dump(matching(), out_file, separators=(",", ":"))
    # Lists of one, because PEFT writes longer ones in an order that changes from run to run.
    folder("plain", model(), target_modules=["q_proj"], r=3, lora_alpha=6, lora_dropout=0.05, task_type="CAUSAL_LM")
    folder("saved", model(), target_modules=r".*\.(q|v|down)_proj", r=2, lora_alpha=5.5, use_rslora=True,
           exclude_modules=["1.self_attn.q_proj"], modules_to_save=["lm_head"], init_lora_weights="gaussian",
           rank_pattern={"down_proj": 1}, alpha_pattern={"v_proj": 3, "q_proj": 1.5}, task_type="CAUSAL_LM")
    folder("biases", model(), target_modules=["v_proj"], r=2, bias="all", layers_to_transform=[0, 1],
           task_type="CAUSAL_LM")
    folder("seq_cls", model(LlamaForSequenceClassification, num_labels=1), target_modules=["o_proj"], r=2,
           task_type="SEQ_CLS")
    folder("head", model(), target_modules=["lm_head"], r=2, task_type="CAUSAL_LM")
    halves = {k: v.to(torch.bfloat16) for k, v in load_file(os.path.join(OUT, "plain/adapter_model.safetensors")).items()}
    save_file(halves, os.path.join(OUT, "plain_bf16.safetensors"), {"format": "pt"})
