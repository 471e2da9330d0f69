"""Makes sampling.json: which tokens transformers' logits processors leave, and their log-probs.

Run with torch 2.11 and transformers 5.23:  python tests/golden/make_sampling.py
Left out are cases of top-p in which fp32 rounding could decide (a cumulative within 1e-5 of 1 - top_p)
or where the edge lies within equal logits (torch.sort is not stable, so transformers' choice is none).
"""
import json
import pathlib

import torch
from transformers.generation.logits_process import (
    LogitsProcessorList, MinPLogitsWarper, RepetitionPenaltyLogitsProcessor, TemperatureLogitsWarper,
    TopKLogitsWarper, TopPLogitsWarper)

torch.manual_seed(20260801)
VOCAB = 700  # more than two blocks of 256, and not a multiple of 16


def make_rows():
    rows = [torch.randn(VOCAB) * scale for scale in (0.5, 2.0, 4.0)]
    rows.append(torch.randn(VOCAB).round())  # many ties
    rows.append(torch.cat([torch.randn(VOCAB - 3), torch.tensor([9.0, 9.0, 8.0])]))
    rows.append(torch.full((VOCAB,), -1.5))  # all equal
    return rows


SETTINGS = [
    dict(temperature=1.0),
    dict(temperature=0.7, top_k=1),
    dict(temperature=0.7, top_k=5),
    dict(temperature=1.3, top_k=50),
    dict(temperature=1.0, top_k=10000),
    dict(temperature=1.0, top_p=0.9),
    dict(temperature=0.7, top_p=0.5),
    dict(temperature=2.0, top_p=0.999),
    dict(temperature=1.0, top_p=0.01),
    dict(temperature=1.0, min_p=0.1),
    dict(temperature=0.5, min_p=0.02),
    dict(temperature=1.0, min_p=1.0),
    dict(temperature=0.9, top_k=40, top_p=0.8, min_p=0.05),
    dict(temperature=1.0, top_k=20, top_p=0.95),
    dict(temperature=1.0, repetition_penalty=1.3),
    dict(temperature=0.8, top_k=30, repetition_penalty=0.7),
    dict(temperature=1.1, top_p=0.7, min_p=0.01, repetition_penalty=1.8),
    dict(temperature=1.5, top_k=100, min_p=0.03),
]


def warpers(setting):
    chain = LogitsProcessorList()
    if "repetition_penalty" in setting:
        chain.append(RepetitionPenaltyLogitsProcessor(setting["repetition_penalty"]))
    chain.append(TemperatureLogitsWarper(setting["temperature"]))
    if "top_k" in setting:
        chain.append(TopKLogitsWarper(setting["top_k"]))
    if "top_p" in setting:
        chain.append(TopPLogitsWarper(setting["top_p"]))
    if "min_p" in setting:
        chain.append(MinPLogitsWarper(setting["min_p"]))
    return chain


def near_the_edge(row, history, setting):
    if "top_p" not in setting:
        return False
    before = {k: v for k, v in setting.items() if k not in ("top_p", "min_p")}
    scores = warpers(before)(history[None], row[None].double())[0]
    cumulative = scores.sort().values.softmax(-1).cumsum(-1)
    if ((cumulative - (1 - setting["top_p"])).abs() < 1e-5).any():
        return True
    after = warpers({k: v for k, v in setting.items() if k != "min_p"})(history[None], row[None].clone())[0]
    kept = after.isfinite()
    return bool(scores[kept].min() in scores[~kept])


def main():
    cases, rows = [], make_rows()
    for r, row in enumerate(rows):
        history = torch.randint(0, VOCAB, (40,))
        history[:3] = row.topk(3).indices  # the penalty meets the likeliest ones
        history[3] = history[0]            # and one of them twice
        for setting in SETTINGS:
            if near_the_edge(row, history, setting):
                print("left out", r, setting)
                continue
            scores = warpers(setting)(history[None], row[None].clone())[0]
            kept = scores.isfinite().nonzero().flatten()
            logprobs = scores.double().log_softmax(-1)[kept]
            whole = (row.double() / setting["temperature"]).log_softmax(-1)
            shown = slice(0, None) if len(kept) <= 30 else slice(0, None, len(kept) // 20)
            cases.append(dict(row=r, history=history.tolist(), setting=setting,
                              kept=kept.tolist() if len(kept) < VOCAB else [],
                              tokens=kept[shown].tolist(),
                              behaviour_logprobs=[round(x, 9) for x in logprobs[shown].tolist()],
                              logprobs=[round(x, 9) for x in whole[kept[shown]].tolist()],
                              entropy=round(float(-(whole.exp() * whole).sum()), 9)))
    target = pathlib.Path(__file__).parent / "sampling.json"
    target.write_text(json.dumps(dict(rows=[row.tolist() for row in rows], cases=cases)) + "\n")
    print(len(cases), "cases", target.stat().st_size, "bytes")


main()
