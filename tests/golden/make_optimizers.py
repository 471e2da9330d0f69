"""Writes optimizers.safetensors: what torch.optim.SGD, transformers' Adafactor and bitsandbytes' AdamW8bit make of the same
parameters and gradients.

    python tests/golden/make_optimizers.py

Starts and gradients are not stored: `numbers` gives them here and in tests/rl/optim/optimizer_test.cpp.
"""
from pathlib import Path

import bitsandbytes
import bitsandbytes.backends.cpu.ops as bnb_cpu
import torch
import transformers
from bitsandbytes.functional import create_dynamic_map
from safetensors.torch import save_file

SMALL = [(3, 4), (5,), (2, 3, 4)]
LARGE = [(65, 67), (12, 13), (5,)]  # the first has 8-bit states and a broken last block
RATES = [1e-2, 2e-2, 1e-2, 5e-3, 4e-3, 3e-3]
WITHOUT_GRAD = (1, 2)  # (step, parameter): that update leaves that parameter alone


def numbers(count, seed):
    """Multiples of 2^-24 in [-1/2, 1/2) times powers of two down to 2^-15: the same in every language and type but bf16."""
    x = (torch.arange(count, dtype=torch.int64) * 2654435761 + seed * 40503 + 12345) % 2**32
    x = (x ^ (x >> 15)) * 2246822519 % 2**32
    x = (x ^ (x >> 13)) * 3266489917 % 2**32
    x = x ^ (x >> 16)
    return ((x >> 8).double() / 2**24 - 0.5) * torch.pow(2.0, -(x % 16).double())


def gradient(shape, step, index):
    count = torch.Size(shape).numel()
    values = numbers(count, 100 * (step + 1) + index)
    if index == 0 and count > 1024:
        values[512:768] = 0  # a block without any gradient
        if step < 2:
            values[768:1024] = 0  # one that has none at first, as LoRA's A
    return values.reshape(shape)


def run(make, shapes, dtype):
    """Parameters after each update, and the optimizer."""
    parameters = [torch.nn.Parameter(numbers(torch.Size(s).numel(), i).reshape(s).to(dtype)) for i, s in enumerate(shapes)]
    optimizer = make(parameters)
    trace = []
    for step, rate in enumerate(RATES):
        optimizer.param_groups[0]["lr"] = rate
        for i, parameter in enumerate(parameters):
            parameter.grad = None if (step, i) == WITHOUT_GRAD else gradient(shapes[i], step, i).to(dtype)
        optimizer.step()
        trace.append([p.detach().clone() for p in parameters])
    return trace, [optimizer.state[p] for p in parameters]


def sgd_and_adafactor(result):
    makers = dict(sgd=lambda ps, wd: torch.optim.SGD(ps, lr=1.0, weight_decay=wd, foreach=False),
                  adafactor=lambda ps, wd: transformers.Adafactor(ps, lr=1.0, scale_parameter=False, relative_step=False,
                                                                  weight_decay=wd))
    for name, make in makers.items():
        for wd in (0.0, 0.1):
            for dtype in (torch.float64, torch.float32, torch.bfloat16):
                trace, states = run(lambda ps: make(ps, wd), SMALL, dtype)
                key = f"{name}.wd{wd}.{str(dtype)[6:]}"
                for step, values in enumerate(trace):
                    for i, value in enumerate(values):
                        result[f"{key}.step{step}.{i}"] = value
                for i, state in enumerate(states):
                    for part in ("exp_avg_sq", "exp_avg_sq_row", "exp_avg_sq_col"):
                        if part in state:
                            result[f"{key}.state.{i}.{part}"] = state[part].clone()


def nearest(values, code, absmax_out, out, blocksize):
    """bitsandbytes' own quantiser without its table: float64 takes its search for the nearest value."""
    codes, absmax = torch.ops.bitsandbytes.quantize_blockwise(values.double(), code, blocksize)
    out.copy_(codes)
    absmax_out.copy_(absmax)


def adamw8bit(result):
    """Codes by the nearest value, as its CUDA kernels find them; its CPU kernel's table of 2^16 places is coarser near 0."""
    bnb_cpu._quant_blockwise_fp32_direct = nearest
    for wd, dtype in [(0.0, torch.float32), (0.1, torch.float32), (0.1, torch.bfloat16)]:
        trace, states = run(lambda ps: bitsandbytes.optim.PagedAdamW8bit(ps, lr=1.0, betas=(0.9, 0.95), eps=1e-8, weight_decay=wd),
                            LARGE, dtype)
        key = f"adamw_8bit.wd{wd}.{str(dtype)[6:]}"
        for i, value in enumerate(trace[-1]):
            result[f"{key}.{i}"] = value
        for ours, theirs in dict(exp_avg="state1", exp_avg_sq="state2", exp_avg_absmax="absmax1",
                                 exp_avg_sq_absmax="absmax2").items():
            result[f"{key}.state.0.{ours}"] = states[0][theirs].clone()


def quantiser(result):
    values = numbers(1000, 7).float()
    values[256:512] = 0
    for name, code in (("with_sign", create_dynamic_map(True)), ("without_sign", create_dynamic_map(False))):
        result[f"map.{name}"] = code
        given = values if name == "with_sign" else values**2
        for kind, dtype in (("table", torch.float32), ("nearest", torch.float64)):
            codes, absmax = torch.ops.bitsandbytes.quantize_blockwise(given.to(dtype), code, 256)
            result[f"codes.{name}.{kind}"], result[f"absmax.{name}.{kind}"] = codes, absmax
        result[f"values.{name}"] = torch.ops.bitsandbytes.dequantize_blockwise(
            result[f"codes.{name}.nearest"], absmax, code, 256, torch.float32)


if __name__ == "__main__":
    torch.set_num_threads(1)
    content = {}
    sgd_and_adafactor(content)
    quantiser(content)
    adamw8bit(content)
    versions = dict(torch=torch.__version__, transformers=transformers.__version__, bitsandbytes=bitsandbytes.__version__)
    save_file({k: v.contiguous() for k, v in content.items()}, Path(__file__).with_name("optimizers.safetensors"), versions)
