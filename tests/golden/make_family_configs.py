"""What transformers makes of small config.json files: into family_configs.json, a line each.

    python make_family_configs.py

Every row is a file as somebody might have written it (old spellings, new ones, next to nothing) and the facts that the class
of transformers 5.23 then has: sizes and ids from its configuration, the rest from the modules of a model that it builds.
"""
import json
import os

import torch
import transformers as tf

here = os.path.dirname(os.path.abspath(__file__))
small = dict(vocab_size=64, hidden_size=24, intermediate_size=16, num_hidden_layers=3, num_attention_heads=2)
kv = dict(small, num_key_value_heads=1)
gpt2 = dict(vocab_size=64, n_embd=24, n_layer=3, n_head=2)
plain = dict(vocab_size=64, hidden_size=24, num_hidden_layers=3, num_attention_heads=2)
opt = dict(plain, ffn_dim=20, max_position_embeddings=48)
yarn = dict(type="yarn", factor=4.0, original_max_position_embeddings=32)
long = dict(type="longrope", short_factor=[1.0, 1.1, 1.2, 1.5, 2.0, 3.0], long_factor=[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])

rows = [
    ("llama", "yarn, old spelling", dict(small, max_position_embeddings=128, rope_scaling=yarn)),
    ("llama", "yarn without an original length", dict(small, max_position_embeddings=128, rope_theta=50.0,
                                                      rope_scaling=dict(rope_type="yarn", factor=2.0))),
    ("llama", "yarn with everything", dict(small, max_position_embeddings=128, rope_parameters=dict(
        yarn, rope_type="yarn", rope_theta=90.0, beta_fast=5, beta_slow=0, mscale=0.7, mscale_all_dim=1.2, truncate=False))),
    ("llama", "yarn, attention_factor", dict(small, max_position_embeddings=128, rope_scaling=dict(yarn, attention_factor=0.8))),
    ("llama", "yarn, original length outside", dict(small, max_position_embeddings=128, original_max_position_embeddings=16,
                                                    rope_scaling=dict(rope_type="yarn", factor=8.0))),
    ("llama", "dynamic", dict(small, max_position_embeddings=64, rope_scaling=dict(type="dynamic", factor=2.0))),
    ("llama", "longrope", dict(small, max_position_embeddings=64, rope_scaling=dict(long, factor=3.0,
                                                                                    original_max_position_embeddings=16))),
    ("smollm3", "as it is", dict(kv)),
    ("smollm3", "every other layer", dict(kv, no_rope_layer_interval=2, use_sliding_window=True, sliding_window=5,
                                          rope_theta=5e4)),
    ("smollm3", "lists", dict(kv, no_rope_layers=[0, 1, 1, 0], use_sliding_window=True, sliding_window=5,
                              layer_types=["sliding_attention", "full_attention", "sliding_attention"])),
    ("mistral", "as it is", dict(kv)),
    ("mistral", "no window", dict(kv, sliding_window=None, head_dim=None)),
    ("mistral", "window", dict(kv, sliding_window=7, head_dim=20, max_position_embeddings=32)),
    ("qwen2", "window off", dict(kv, sliding_window=5, use_sliding_window=False, max_window_layers=1)),
    ("qwen2", "window on", dict(kv, use_sliding_window=True, max_window_layers=1)),
    ("qwen2", "window on from layer 2", dict(kv, sliding_window=5, use_sliding_window=True, max_window_layers=2,
                                             rope_theta=1e6, rope_scaling=yarn, max_position_embeddings=128)),
    ("qwen2", "layer types", dict(kv, sliding_window=5, use_sliding_window=True,
                                  layer_types=["sliding_attention", "full_attention", "sliding_attention"])),
    ("qwen3", "as it is", dict(kv)),
    ("qwen3", "all said", dict(kv, head_dim=12, attention_bias=True, use_sliding_window=True, sliding_window=5,
                               max_window_layers=0, tie_word_embeddings=True)),
    ("gemma", "as it is", dict(kv)),
    ("gemma", "legacy activation", dict(kv, hidden_act="gelu", head_dim=20, rope_theta=70.0)),
    ("gemma2", "as it is", dict(kv)),
    ("gemma2", "no caps", dict(kv, attn_logit_softcapping=None, final_logit_softcapping=None, query_pre_attn_scalar=9,
                               sliding_window=5, hidden_activation="silu")),
    ("gemma3_text", "as it is", dict(kv, num_hidden_layers=7)),
    ("gemma3_text", "old spelling", dict(kv, sliding_window=5, sliding_window_pattern=2, rope_theta=3000.0,
                                         rope_local_base_freq=50.0, rope_scaling=dict(rope_type="linear", factor=8.0))),
    ("gemma3_text", "new spelling, one type", dict(kv, layer_types=["full_attention"] * 3, rope_parameters=dict(
        full_attention=dict(rope_type="yarn", factor=2.0, rope_theta=80.0, original_max_position_embeddings=512)))),
    ("phi", "as it is", dict(small)),
    ("phi", "all said", dict(kv, partial_rotary_factor=0.34, rope_theta=100.0, layer_norm_eps=1e-3, hidden_act="relu",
                             rope_scaling=dict(type="linear", factor=2.0))),
    ("phi3", "as it is", dict(kv)),
    ("phi3", "old longrope", dict(small, max_position_embeddings=16384, original_max_position_embeddings=1024,
                                  rope_scaling=long)),
    ("phi3", "longrope without an original length", dict(small, max_position_embeddings=8192, rope_scaling=long)),
    ("phi3", "partial", dict(small, partial_rotary_factor=0.5, sliding_window=9, rope_theta=30.0, rope_scaling=None)),
    ("gpt2", "as it is", dict(gpt2)),
    ("gpt2", "the other names", dict(vocab_size=64, hidden_size=24, num_hidden_layers=3, num_attention_heads=2,
                                     max_position_embeddings=32, n_inner=12, activation_function="gelu",
                                     layer_norm_epsilon=1e-3, tie_word_embeddings=False)),
    ("gpt_neox", "as it is", dict(small, num_attention_heads=3)),
    ("gpt_neox", "all said", dict(small, rotary_pct=0.5, rotary_emb_base=300, attention_bias=False, hidden_act="gelu_fast",
                                  use_parallel_residual=False, layer_norm_eps=1e-3)),
    ("gpt_neox", "new spelling", dict(small, rope_parameters=dict(rope_type="linear", factor=2.0, rope_theta=200.0,
                                                                  partial_rotary_factor=1.0))),
    ("opt", "as it is", dict(opt)),
    ("opt", "all said", dict(opt, enable_bias=False, activation_function="gelu", word_embed_proj_dim=24, pad_token_id=None)),
    ("falcon", "as it is", dict(plain)),
    ("falcon", "the new architecture", dict(plain, new_decoder_architecture=True, num_kv_heads=1, bias=True, rope_theta=40.0,
                                            ffn_hidden_size=28, activation="relu")),
    ("falcon", "one norm", dict(plain, new_decoder_architecture=True, num_kv_heads=2, num_ln_in_parallel_attn=1)),
    ("falcon", "a head's own keys", dict(plain, multi_query=False, parallel_attn=False, alibi=True, bias=True)),
    ("bloom", "as it is", dict(vocab_size=64, hidden_size=24, n_layer=3, n_head=2)),
    ("bloom", "old names", dict(vocab_size=64, n_embed=24, num_hidden_layers=3, num_attention_heads=2, layer_norm_epsilon=1e-3)),
    ("olmo2", "as it is", dict(small)),
    ("olmo2", "all said", dict(kv, attention_bias=True, rms_norm_eps=1e-3, rope_theta=90.0, rope_scaling=yarn,
                               max_position_embeddings=128)),
    ("granite", "as it is", dict(small)),
    ("granite", "multipliers", dict(kv, embedding_multiplier=12, residual_multiplier=0.22, attention_multiplier=0.0156,
                                    logits_scaling=8, mlp_bias=True, attention_bias=True, head_dim=20)),
]


def numbers(tensor):
    return tensor.double().tolist()


def first(module, names):
    return next((getattr(module, name) for name in names if hasattr(module, name)), None)


def rotation(trunk, layer_type=""):
    rope = trunk.rotary_emb
    prefix = layer_type and layer_type + "_"
    return dict(inverse_frequencies=numbers(getattr(rope, prefix + "inv_freq")),
                attention_factor=float(getattr(rope, prefix + "attention_scaling")))


def windows(config, layers):
    width = getattr(config, "sliding_window", None)
    if config.model_type in ("mistral", "phi3"):
        return [width or 0] * layers
    types = getattr(config, "layer_types", None)
    return [width if types and types[i] == "sliding_attention" else 0 for i in range(layers)]


def facts(config):
    model = tf.AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    trunk = getattr(model, model.base_model_prefix)
    trunk = getattr(trunk, "decoder", trunk)
    layers = first(trunk, ["layers", "h"])
    attention = first(layers[0], ["self_attn", "attn", "attention", "self_attention"])
    names = dict(model.named_parameters())
    norm = next(m for n, m in trunk.named_modules() if "norm" in type(m).__name__.lower())
    out = dict(num_layers=len(layers), head_dim=first(attention, ["head_dim", "head_size"]),
               scale=first(attention, ["scaling", "inv_norm_factor"]), epsilon=first(norm, ["variance_epsilon", "eps"]),
               tie=config.tie_word_embeddings, bos=config.bos_token_id, eos=config.eos_token_id, pad=config.pad_token_id,
               windows=windows(config, len(layers)), parameters=sum(p.numel() for p in names.values()))
    if config.model_type == "gemma3_text":
        for kind in set(config.layer_types):
            out[kind] = rotation(trunk, kind)
    elif hasattr(trunk, "rotary_emb") and not getattr(config, "alibi", False):
        out["full_attention"] = rotation(trunk)
    if config.model_type == "smollm3":
        out["rotated"] = [int(layer.self_attn.use_rope) for layer in layers]
    act = next(m for n, m in layers[0].named_modules() if n.split(".")[-1] in ("act_fn", "act", "activation_fn", "gelu_impl"))
    with torch.no_grad():
        out["activation_at_1"] = act(torch.tensor([1.0], dtype=torch.float64)).item()
    return out


lines = []
for model_type, name, fields in rows:
    if model_type in ("smollm3", "phi3"):  # whose own padding such a small vocabulary lacks
        fields["pad_token_id"] = 0
    config = tf.AutoConfig.for_model(model_type, **json.loads(json.dumps(fields)))
    lines.append(json.dumps({"name": f"{model_type}: {name}", "config": dict(fields, model_type=model_type), "expected": facts(config)}))
with open(os.path.join(here, "family_configs.json"), "w") as file:
    file.write("[\n" + ",\n".join(lines) + "\n]\n")
print(len(lines), "rows")
