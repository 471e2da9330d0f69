"""Golden GGUF data (in gguf/) and a sharded folder of transformers (in tiny_sharded/).

    python make_gguf.py

  gguf/blocks.safetensors     random blocks of every type that is read, and what gguf.quants.dequantize says of them
  tiny_sharded/               a random one-layer Llama with biases, saved by transformers in shards
  gguf/tiny_v3.gguf           the same weights in F32, q and k rows permuted as llama.cpp's converter does
  gguf/tiny_v2.gguf           the matrices in eight types, the version set to 2 (version 3 differs in big-endian files alone)
  gguf/tiny_v2.safetensors    what transformers loads from tiny_v2.gguf

Oracle: gguf-py's quants and transformers 5.23 (its GGUF loader undoes the permutation).
"""
import os
import shutil
import tempfile

import gguf
import numpy as np
import torch
from gguf import GGMLQuantizationType as Type
from safetensors.numpy import save_file
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

here = os.path.dirname(os.path.abspath(__file__))
folder = os.path.join(here, "gguf")
os.makedirs(folder, exist_ok=True)
rng = np.random.default_rng(11)
torch.manual_seed(5)

HIDDEN, HEADS, KV_HEADS, HEAD_DIM, INTERMEDIATE, VOCAB = 32, 4, 2, 8, 32, 24

# Byte offsets of the 16-bit scales in a block; everything else is random.
SCALES = {Type.Q4_0: [0], Type.Q4_1: [0, 2], Type.Q5_0: [0], Type.Q5_1: [0, 2], Type.Q8_0: [0], Type.Q4_K: [0, 2],
          Type.Q5_K: [0, 2], Type.Q6_K: [208]}


def blocks():
    out = {}
    for type in [Type.F32, Type.F16, Type.BF16, *SCALES]:
        values, size = gguf.GGML_QUANT_SIZES[type]
        rows = 6 if values > 1 else 64
        raw = rng.integers(0, 256, (rows, size), dtype=np.uint8)
        for offset in SCALES.get(type, []):
            scale = rng.normal(0, 0.05, rows).astype(np.float16)
            scale[:3] = [np.float16(6e-8), np.float16(-0.0), np.float16(65504)]  # subnormal, negative zero, largest
            raw[:, offset:offset + 2] = scale.view(np.uint8).reshape(rows, 2)
        if values == 1:  # numbers of every size but no NaN, whose bits nobody promises
            numbers = rng.normal(0, 1, rows).astype(np.float32) * np.logspace(-7, 4, rows, dtype=np.float32)
            raw = gguf.quants.quantize(numbers, type) if type != Type.F32 else numbers
            raw = np.ascontiguousarray(raw).view(np.uint8).reshape(rows, size)
            expected = gguf.quants.dequantize(raw.reshape(-1), type)
        else:
            with np.errstate(over="ignore"):
                expected = gguf.quants.dequantize(raw, type)
        out[f"{type.name}.bytes"] = raw.reshape(-1)
        out[f"{type.name}.values"] = np.ascontiguousarray(expected.reshape(-1), dtype=np.float32)
    save_file(out, os.path.join(folder, "blocks.safetensors"))


def tiny_model():
    config = LlamaConfig(vocab_size=VOCAB, hidden_size=HIDDEN, intermediate_size=INTERMEDIATE, num_hidden_layers=1,
                         num_attention_heads=HEADS, num_key_value_heads=KV_HEADS, head_dim=HEAD_DIM, attention_bias=True,
                         max_position_embeddings=48, rope_theta=5000.0, rms_norm_eps=1e-5, bos_token_id=1, eos_token_id=2,
                         tie_word_embeddings=False)
    model = LlamaForCausalLM(config).float().eval()
    with torch.no_grad():
        for p in model.parameters():
            p.copy_(torch.randn_like(p) * 0.3)
    return model


def permute(weights, heads):
    """llama.cpp's converter: rows (2, half) of each head become (half, 2)."""
    return weights.reshape(heads, 2, weights.shape[0] // heads // 2, *weights.shape[1:]).swapaxes(1, 2).reshape(weights.shape)


NAMES = {"model.embed_tokens": "token_embd", "model.norm": "output_norm", "lm_head": "output",
         "input_layernorm": "attn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "post_attention_layernorm": "ffn_norm",
         "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down"}


def gguf_name(name):
    module, kind = name.rsplit(".", 1)
    prefix = "model.layers.0."
    return f"blk.0.{NAMES[module[len(prefix):]]}.{kind}" if module.startswith(prefix) else f"{NAMES[module]}.{kind}"


def write_gguf(path, state, types, with_tokens):
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_context_length(48)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(1)
    writer.add_feed_forward_length(INTERMEDIATE)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_dimension_count(HEAD_DIM)
    writer.add_rope_freq_base(5000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCAB)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    if with_tokens:
        writer.add_tokenizer_model("gpt2")
        writer.add_token_list([f"t{i}" for i in range(VOCAB)])
    for name, value in state.items():
        weights = value.numpy()
        if ".q_proj." in name or ".k_proj." in name:
            weights = permute(weights, HEADS if ".q_proj." in name else KV_HEADS)
        type = next((t for key, t in types.items() if key in name), Type.F32)
        weights = np.ascontiguousarray(weights)
        if type == Type.F32:
            writer.add_tensor(gguf_name(name), weights)
        else:
            raw = gguf.quants.quantize(weights, type)
            writer.add_tensor(gguf_name(name), raw, raw_dtype=type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


blocks()
model = tiny_model()
shutil.rmtree(os.path.join(here, "tiny_sharded"), ignore_errors=True)
model.save_pretrained(os.path.join(here, "tiny_sharded"), max_shard_size="16KB")
state = {name: value.detach() for name, value in model.state_dict().items()}
write_gguf(os.path.join(folder, "tiny_v3.gguf"), state, {}, False)

# transformers' loader of Llama GGUFs knows no biases.
plain = {name: value for name, value in state.items() if not name.endswith("bias")}
mixed = {"q_proj": Type.Q8_0, "k_proj": Type.Q4_0, "v_proj": Type.Q5_0, "o_proj": Type.Q5_1, "gate_proj": Type.Q4_1,
         "up_proj": Type.F16, "down_proj": Type.BF16, "lm_head": Type.Q8_0}
path = os.path.join(folder, "tiny_v2.gguf")
write_gguf(path, plain, mixed, True)
with open(path, "r+b") as file:
    file.seek(4)
    file.write((2).to_bytes(4, "little"))
with tempfile.TemporaryDirectory() as scratch:
    shutil.copy(path, os.path.join(scratch, "x.gguf"))
    loaded = AutoModelForCausalLM.from_pretrained(scratch, gguf_file="x.gguf", dtype=torch.float32)
save_file({name: value.numpy() for name, value in loaded.state_dict().items()}, os.path.join(folder, "tiny_v2.safetensors"))
