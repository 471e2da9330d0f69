"""Writes optim.json: transformers' learning rates, torch.optim.AdamW and clip_grad_norm_.

    python tests/golden/make_optim.py
"""
import itertools
import json
from pathlib import Path
from types import SimpleNamespace

import torch
import transformers
from transformers import TrainingArguments, get_scheduler

LR, TOTAL, STEPS = 2.5e-4, 23, 28


def rates(name, warmup, **kwargs):
    """The rate that each update uses; warmup below 1 is a ratio, as in TrainingArguments."""
    steps = TrainingArguments.get_warmup_steps(SimpleNamespace(warmup_steps=warmup), TOTAL)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    schedule = get_scheduler(name, optimizer, steps, TOTAL, kwargs or None)
    result = []
    for _ in range(STEPS):
        result.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    return result


def schedules():
    kinds = [("constant", {}), ("constant_with_warmup", {}), ("linear", {}), ("cosine", {}), ("cosine", dict(num_cycles=1.5)),
             ("cosine_with_min_lr", dict(min_lr_rate=0.1)), ("polynomial", dict(lr_end=1e-7, power=1.0)),
             ("polynomial", dict(lr_end=3e-5, power=2.0)), ("inverse_sqrt", {}), ("warmup_stable_decay", dict(num_decay_steps=6)),
             ("warmup_stable_decay", dict(num_decay_steps=9, min_lr_ratio=0.2))]
    result = []
    for (name, kwargs), warmup in itertools.product(kinds, [0, 1, 5, 0.05, 0.3]):
        result.append(dict(type=name, warmup=warmup, settings=kwargs, rates=rates(name, warmup, **kwargs)))
    return dict(learning_rate=LR, total_steps=TOTAL, cases=result)


def adamw(dtype, weight_decay, betas, eps, starts, grads, learning_rates):
    parameters = [torch.nn.Parameter(torch.tensor(start, dtype=dtype)) for start in starts]
    optimizer = torch.optim.AdamW(parameters, betas=betas, eps=eps, weight_decay=weight_decay, foreach=False)
    trace = []
    for step_grads, lr in zip(grads, learning_rates):
        optimizer.param_groups[0]["lr"] = lr
        for parameter, grad in zip(parameters, step_grads):
            parameter.grad = None if grad is None else torch.tensor(grad, dtype=dtype)
        optimizer.step()
        trace.append([p.detach().double().tolist() for p in parameters])
    moments = [[optimizer.state[p][k].double().tolist() for k in ("exp_avg", "exp_avg_sq")] for p in parameters]
    return dict(trace=trace, moments=moments)


def optimizer_cases():
    generator = torch.Generator().manual_seed(5)

    def normal(*shape):
        return torch.randn(*shape, generator=generator).tolist()

    starts = [normal(3, 4), normal(5), normal(2)]
    grads = [[normal(3, 4), normal(5), None if step in (0, 4, 5) else normal(2)] for step in range(10)]
    learning_rates = [0.01 * (step + 1) for step in range(10)]
    result = dict(starts=starts, grads=grads, learning_rates=learning_rates, cases=[])
    for weight_decay, betas, eps in [(0.0, (0.9, 0.999), 1e-8), (0.1, (0.8, 0.95), 1e-6)]:
        case = dict(weight_decay=weight_decay, beta1=betas[0], beta2=betas[1], epsilon=eps)
        for dtype in (torch.float64, torch.float32):
            case[str(dtype).split(".")[1]] = adamw(dtype, weight_decay, betas, eps, starts, grads, learning_rates)
        result["cases"].append(case)
    return result


def clipping(grads):
    result = []
    for max_norm in (0.5, 1.0, 1e3):
        parameters = [torch.nn.Parameter(torch.zeros(torch.tensor(g).shape, dtype=torch.double)) for g in grads]
        for parameter, grad in zip(parameters, grads):
            parameter.grad = torch.tensor(grad, dtype=torch.double)
        norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm).item()
        result.append(dict(max_norm=max_norm, norm=norm, grads=[p.grad.tolist() for p in parameters]))
    return result


if __name__ == "__main__":
    optimizer = optimizer_cases()
    content = dict(torch=torch.__version__, transformers=transformers.__version__, schedules=schedules(), adamw=optimizer,
                   clipping=clipping(optimizer["grads"][1]))
    Path(__file__).with_name("optim.json").write_text(json.dumps(content))
