"""Divergences between two distributions and spectra of low-rank updates, by PyTorch in float64.

    /work/peers/venv/bin/python tests/golden/make_drift.py

Writes tests/golden/drift.json: logits of a policy and a reference at some states, and at each the
exact KL in both directions, Jensen-Shannon, both entropies, log-probs, whether the likeliest token
is one; and a LoRA's norm, largest singular value and effective rank from its product, which leash
never builds.
"""
import json
import pathlib

import torch

torch.manual_seed(22)
ROWS, VOCAB = 7, 13


def divergences(policy, reference, targets):
    p = torch.distributions.Categorical(logits=policy)
    q = torch.distributions.Categorical(logits=reference)
    kl = torch.distributions.kl_divergence
    m = torch.distributions.Categorical(probs=(p.probs + q.probs) / 2)
    moved = p.probs - q.probs
    return {
        "kl": kl(p, q), "reverse_kl": kl(q, p), "js": (kl(p, m) + kl(q, m)) / 2,
        "entropy": p.entropy(), "reference_entropy": q.entropy(),
        "top1_agreement": (policy.argmax(-1) == reference.argmax(-1)).double(),
        "logprobs": p.log_prob(targets), "reference_logprobs": q.log_prob(targets),
        "gained": moved.argmax(-1), "gained_by": moved.max(-1).values,
        "lost": moved.argmin(-1), "lost_by": moved.min(-1).values,
        "policy_mass": p.probs.sum(0), "reference_mass": q.probs.sum(0),
    }


def spectrum(a, b, scaling):
    values = torch.linalg.svdvals(scaling * b @ a)[: a.shape[0]]
    shares = values / values.sum()
    shares = shares[shares > 1e-14]
    return {"a": a.tolist(), "b": b.tolist(), "scaling": scaling, "delta": values.norm().item(),
            "largest": values[0].item(), "effective_rank": (-(shares * shares.log()).sum()).exp().item()}


policy = torch.randn(ROWS, VOCAB, dtype=torch.float64) * 3
reference = policy + torch.randn(ROWS, VOCAB, dtype=torch.float64)
reference[-1] = policy[-1]  # nothing moved
policy[0, 3] = 60.0  # nearly certain
targets = torch.randint(VOCAB, (ROWS,))
a = torch.randn(4, 9, dtype=torch.float64)
b = torch.randn(11, 4, dtype=torch.float64)
low = torch.randn(11, 2, dtype=torch.float64)
golden = {
    "policy": policy.tolist(), "reference": reference.tolist(), "targets": targets.tolist(),
    "rows": {name: value.tolist() for name, value in divergences(policy, reference, targets).items()},
    "spectra": [spectrum(a, b, 2.0), spectrum(a, low @ torch.randn(2, 4, dtype=torch.float64), 0.5)],
}
out = pathlib.Path(__file__).with_name("drift.json")
out.write_text(json.dumps(golden) + "\n")
