"""Writes grad_scaler.json: what torch.amp.GradScaler does over patterns of overflows.

    python tests/golden/make_grad_scaler.py

Each case is a run of SGD with a learning rate of 1 on one parameter, whose gradient is 1, 2, … times the scale, or holds an
infinity or a NaN: the scale and the growth tracker after each step, the parameter, and whether the step was skipped.
"""
import json
import random
from pathlib import Path

import torch


def run(pattern, **config):
    """`pattern`: "." for a step without an overflow, "i" for an infinite gradient, "n" for one that is NaN."""
    scaler = torch.amp.GradScaler("cpu", **config)
    parameters = [torch.nn.Parameter(torch.zeros(2)), torch.nn.Parameter(torch.zeros(1))]
    optimizer = torch.optim.SGD(parameters, lr=1.0)
    steps = []
    for count, kind in enumerate(pattern, 1):
        scale = scaler.scale(torch.ones(1)).item()  # what a loss is multiplied with
        parameters[0].grad = torch.tensor([count / 64, -count / 8]) * scale
        parameters[1].grad = torch.tensor([{".": 0.5, "i": float("inf"), "n": float("nan")}[kind]]) * scale
        before = [p.detach().clone() for p in parameters]
        scaler.unscale_(optimizer)
        scaler.step(optimizer)
        scaler.update()
        skipped = all(torch.equal(a, b) for a, b in zip(before, parameters))
        state = scaler.state_dict()
        steps.append(dict(loss_scale=scale, skipped=skipped, scale=state["scale"], growth_tracker=state["_growth_tracker"],
                          values=parameters[0].tolist() + parameters[1].tolist()))
    return dict(pattern=pattern, config=config, steps=steps)


def cases():
    rng = random.Random(11)
    mixed = "".join(rng.choices(".in", [8, 1, 1], k=40))
    return [run("." * 5 + "i" + ".." + "n"),                                       # the defaults: no growth so soon
            run("ii" + "." * 8 + "n" + "." * 7, growth_interval=3),                # growth, and a count that begins anew
            run(mixed, init_scale=2.0**20, growth_interval=2),
            run(mixed[::-1], init_scale=1000.0, growth_factor=1.7, backoff_factor=0.3, growth_interval=4),  # rounded to float
            run("." * 6, init_scale=2.0**125, growth_interval=1)]                  # never to infinity


if __name__ == "__main__":
    content = dict(torch=torch.__version__, cases=cases())
    Path(__file__).with_name("grad_scaler.json").write_text(json.dumps(content))
