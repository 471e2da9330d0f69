"""Golden safetensors of every type, and variants of config.json with what transformers makes of them.

    python make_safetensors.py [FILE]      # FILE: instead, check that Python reads what our writer wrote

Oracle: safetensors 0.8 and transformers 5.23.
"""
import copy
import json
import os
import sys

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from transformers import AutoConfig
from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding

here = os.path.dirname(os.path.abspath(__file__))
TYPES = {"f64": torch.float64, "f32": torch.float32, "f16": torch.float16, "bf16": torch.bfloat16, "i64": torch.int64,
         "i32": torch.int32, "i16": torch.int16, "i8": torch.int8, "u8": torch.uint8, "bool": torch.bool}


def tensors():
    out = {}
    for name, type in TYPES.items():
        base = torch.arange(6, dtype=torch.float64)
        values = base % 2 if type == torch.bool else base * 1.5 - 3 if type.is_floating_point else base * 3
        out[name] = values.to(type).reshape(2, 3)
    out["scalar"] = torch.tensor(2.5)
    out["no rows"] = torch.zeros(0, 4)
    out["odd name: ü \"quoted\" \\ \n"] = torch.tensor([7], dtype=torch.uint8)
    return out


def check(file):
    wanted = tensors()
    with safe_open(file, "pt") as source:
        assert set(source.keys()) == set(wanted), sorted(source.keys())
        assert source.metadata() == {"format": "pt"}, source.metadata()
        for name, value in wanted.items():
            got = source.get_tensor(name)
            assert got.dtype == value.dtype and got.shape == value.shape and torch.equal(got, value), name
    print("Python's safetensors reads", file)


def variants():
    base = dict(model_type="llama", architectures=["LlamaForCausalLM"], vocab_size=64, hidden_size=64,
                intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2,
                max_position_embeddings=2048, rms_norm_eps=1e-6)
    llama3 = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
              "original_max_position_embeddings": 512}
    changes = {
        "plain": {},
        "theta outside": {"rope_theta": 500000.0},
        "theta in rope_parameters": {"rope_parameters": {"rope_type": "default", "rope_theta": 250000.0}},
        "linear, old spelling": {"rope_scaling": {"type": "linear", "factor": 4.0}},
        "linear": {"rope_scaling": {"rope_type": "linear", "factor": 2.5}, "rope_theta": 20000.0},
        "linear in rope_parameters": {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 30000.0}},
        "llama3": {"rope_scaling": llama3, "rope_theta": 500000.0},
        "llama3 in rope_parameters": {"rope_parameters": {**llama3, "factor": 32.0, "rope_theta": 500000.0}},
        "rope_scaling null": {"rope_scaling": None},
        "tied": {"tie_word_embeddings": True},
        "biases": {"attention_bias": True, "mlp_bias": True},
        "head_dim": {"head_dim": 32},
        "no kv heads": {"num_key_value_heads": None},
        "eos list": {"eos_token_id": [3, 5], "bos_token_id": 4, "pad_token_id": 6},
        "qwen2": {"model_type": "qwen2", "architectures": ["Qwen2ForCausalLM"], "use_sliding_window": False},
        "mistral": {"model_type": "mistral", "architectures": ["MistralForCausalLM"], "sliding_window": None},
    }
    rows = []
    for name, change in changes.items():
        written = {**base, **change}
        config = AutoConfig.for_model(**copy.deepcopy(written))  # it changes what it is given
        rope = LlamaRotaryEmbedding(config)
        eos = config.eos_token_id
        rows.append({"name": name, "config": written, "expected": {
            "head_dim": getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
            "num_kv_heads": config.num_key_value_heads, "tie": config.tie_word_embeddings,
            "attention_bias": getattr(config, "attention_bias", None), "mlp_bias": getattr(config, "mlp_bias", None),
            "bos": config.bos_token_id, "eos": eos if isinstance(eos, list) else [] if eos is None else [eos],
            "pad": config.pad_token_id, "inverse_frequencies": rope.inv_freq.tolist()}})
    with open(os.path.join(here, "config_variants.json"), "w") as file:
        file.write("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")


if len(sys.argv) > 1:
    check(sys.argv[1])
else:
    save_file(tensors(), os.path.join(here, "dtypes.safetensors"), metadata={"format": "pt"})
    variants()
