"""Golden attention by rules (attention.safetensors, attention.json): what transformers' modules make of queries, keys and values.

    python make_attention.py

  gemma2    soft cap, then a sliding window; grouped heads, a scale of its own (eager_attention_forward)
  mistral   a sliding window alone
  bloom     ALiBi (BloomAttention between identities)
  falcon    ALiBi that is rounded to bfloat16 and scaled, over more than 256 places, by slopes that are no powers of two
            (FalconAttention between identities)

Each case: query [tokens, heads, head_dim], key, value, dy and out [tokens, heads · head_dim] and the gradients of the
first three; its rule in attention.json. Oracle: transformers 5.23, in float64 but for what it rounds itself.
"""
import json
import os
from types import SimpleNamespace

import torch
from safetensors.torch import save_file
from transformers import BloomConfig, FalconConfig
from transformers.masking_utils import sliding_window_causal_mask_function
from transformers.models.bloom import modeling_bloom
from transformers.models.falcon import modeling_falcon
from transformers.models.gemma2.modeling_gemma2 import eager_attention_forward

here = os.path.dirname(os.path.abspath(__file__))
torch.manual_seed(4)


def mask(tokens, window):
    sees = sliding_window_causal_mask_function(window)
    rows = [[0.0 if sees(0, 0, torch.tensor(q), torch.tensor(k)) else float("-inf") for k in range(tokens)] for q in range(tokens)]
    return torch.tensor(rows, dtype=torch.float64)[None, None]


def windowed(tokens, heads, kv_heads, window, scale, softcap):
    module = SimpleNamespace(num_key_value_groups=heads // kv_heads, training=False)

    def function(query, key, value):
        by_head = [x.transpose(0, 1)[None] for x in (query, key, value)]
        return eager_attention_forward(module, *by_head, mask(tokens, window), scaling=scale, softcap=softcap)[0].flatten(2)[0]
    return function


def alibi(kind, config, attention, tokens, heads):
    module = attention(config, layer_idx=0).double()
    module.query_key_value = torch.nn.Identity()
    module.dense = torch.nn.Identity()
    slopes = kind.build_alibi_tensor(torch.ones(1, tokens, dtype=torch.long), heads, torch.float64)

    def function(query, key, value):
        fused = torch.stack((query, key, value), dim=2).flatten(1)[None]
        if kind is modeling_bloom:  # it adds a residual
            return module(fused, torch.zeros(()), slopes, mask(tokens, tokens))[0][0]
        return module(fused, slopes, mask(tokens, tokens))[0][0]
    return function


def main():
    tensors, rules = {}, {}

    def case(name, shape, function, **rule):
        tokens, heads, kv_heads, head_dim = shape
        inputs = [torch.randn(tokens, count, head_dim).double().requires_grad_() for count in (heads, kv_heads, kv_heads)]
        dy = torch.randn(tokens, heads * head_dim).double()
        out = function(*inputs)
        gradients = torch.autograd.grad(out, inputs, dy)
        for kind, x in zip(("query", "key", "value", "dy", "out", "dquery", "dkey", "dvalue"), (*inputs, dy, out, *gradients)):
            tensors[f"{name}.{kind}"] = x.detach().float().contiguous()
        rules[name] = rule

    case("gemma2", (40, 4, 2, 6), windowed(40, 4, 2, 7, 0.31, 1.5), window=7, scale=0.31, softcap=1.5)
    case("mistral", (40, 4, 1, 6), windowed(40, 4, 1, 11, 6 ** -0.5, None), window=11)
    bloom = BloomConfig(n_head=6, hidden_size=24, attention_dropout=0.0, hidden_dropout=0.0, attn_implementation="eager")
    case("bloom", (30, 6, 6, 4), alibi(modeling_bloom, bloom, modeling_bloom.BloomAttention, 30, 6),
         slopes=modeling_bloom._get_alibi_slopes(6, "cpu").tolist())
    falcon = FalconConfig(num_attention_heads=12, hidden_size=24, alibi=True, multi_query=False, new_decoder_architecture=False,
                          attention_dropout=0.0, hidden_dropout=0.0, attn_implementation="eager")
    case("falcon", (280, 12, 12, 2), alibi(modeling_falcon, falcon, modeling_falcon.FalconAttention, 280, 12),
         slopes=modeling_bloom._get_alibi_slopes(12, "cpu").tolist(), bfloat16_bias=True)
    save_file(tensors, os.path.join(here, "attention.safetensors"))
    with open(os.path.join(here, "attention.json"), "w") as file:
        json.dump(rules, file, indent=1)
        file.write("\n")


main()
