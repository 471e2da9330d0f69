"""Writes quant.safetensors: NF4 with double quantisation, the dynamic map and int8 rows as bitsandbytes' CPU backend has
them (0.50.2: quantize_4bit, quantize_blockwise, int8_vectorwise_quant).

    python tests/golden/make_quant.py
"""
from pathlib import Path

import bitsandbytes.functional as F
import torch
from safetensors.torch import save_file


def nf4(name, weight):
    weight = weight.bfloat16().float()
    codes, state = F.quantize_4bit(weight, quant_type="nf4", compress_statistics=True)
    return {f"{name}.weight": weight.bfloat16(), f"{name}.codes": codes.reshape(-1), f"{name}.scale_codes": state.absmax,
            f"{name}.scale_scales": state.state2.absmax, f"{name}.offset": state.offset.reshape(1),
            f"{name}.dense": F.dequantize_4bit(codes, state)[:12]}


def main():
    generator = torch.Generator().manual_seed(11)
    tensors = {"map": F.create_dynamic_map(), "values": F.get_4bit_type("nf4", device="cpu")}
    # 300 blocks of 64, so that the scales fill more than one block of 256; of very different sizes.
    wide = torch.randn(60, 320, generator=generator) * torch.logspace(-3, 1, 60).unsqueeze(1)
    wide[7, :64] = 0
    tensors |= nf4("wide", wide)
    # Rows that are no whole blocks.
    tensors |= nf4("ragged", torch.randn(5, 90, generator=generator))
    small = torch.randn(6, 40, generator=generator)
    codes, stats, _ = F.int8_vectorwise_quant(small)
    tensors |= {"int8.weight": small, "int8.codes": codes, "int8.stats": stats}
    save_file({k: v.contiguous() for k, v in tensors.items()}, Path(__file__).with_name("quant.safetensors"))


main()
