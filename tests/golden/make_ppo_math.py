"""Writes ppo_math.json: TRL 1.12's PPO mathematics, executed.

TRL has the block inline in PPOTrainer.train, so it cannot be called: the script takes the installed method's source, cuts
out the statements between two markers and executes them on small tensors in float64. Everything that TRL exports
(first_true_indices, truncate_response, masked_mean, masked_whiten) is the imported one. Inputs are float32 numbers, so that a
float32 run starts from the same values.

    python tests/golden/make_ppo_math.py          # needs trl==1.12.*
"""
import inspect
import json
import textwrap
from pathlib import Path
from types import SimpleNamespace

import torch
import trl
import trl.experimental.ppo.ppo_trainer as ppo

# TRL's Bessel factor divides two integer tensors, which is float32 by default (6e-9 of relative error in a float64 run).
torch.set_default_dtype(torch.float64)
assert trl.__version__.startswith("1.12."), trl.__version__
SOURCE = inspect.getsource(ppo.PPOTrainer.train).splitlines()


def block(first, last):
    """The statements from the line that holds `first` up to (without) the next one that holds `last`."""
    begin = next(i for i, line in enumerate(SOURCE) if first in line)
    end = next(i for i, line in enumerate(SOURCE) if i > begin and last in line)
    return compile(textwrap.dedent("\n".join(SOURCE[begin:end])), "ppo_trainer.py", "exec")


EXPERIENCE = block("contain_eos_token = torch.any", "empty_cache()")
LOSSES = block("new_logprobs = torch.masked_fill", "accelerator.backward(loss)")
CLIPFRAC = block("pg_clipfrac = masked_mean", "prob_dist =")
APPROXKL = block("approxkl = 0.5", "approxkl_stats[")

BATCH, TIME, VOCAB = 6, 9, 20
EOS, PAD = 18, 19


def experience(case, generator):
    """Responses that end at different places (row 0 never, row 1 at once, row 2 at the last column), and their numbers."""
    def normal(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float32).double()

    responses = torch.randint(0, 17, (BATCH, TIME), generator=generator)
    ends = [None] * BATCH if case["full"] else [None, 0, TIME - 1, TIME - 2, 3, 5]
    for row, end in enumerate(ends):
        if end is not None:
            responses[row, end] = EOS  # what was sampled after it stays, as in TRL
    # Traps 7 and 9: the log-probs are log_softmax at temperature + 1e-7.
    logits, shift = normal(BATCH, TIME, VOCAB) * 2, normal(BATCH, TIME, VOCAB) * 0.3
    temperature = case["temperature"] + 1e-7

    def picked(raw):
        chosen = torch.log_softmax(raw / temperature, -1).gather(-1, responses.unsqueeze(-1)).squeeze(-1)
        return chosen.float().double()

    return responses, picked(logits), picked(logits + shift), normal(BATCH), normal(BATCH, TIME), normal(BATCH, TIME, VOCAB), logits, picked


def run(case, seed):
    generator = torch.Generator().manual_seed(seed)
    responses, logprobs, ref_logprobs, scores, values, noise, logits, picked = experience(case, generator)
    # New values and log-probs, as after some optimizer steps.
    new_logprobs = picked(logits + 0.3 * noise).requires_grad_()
    new_values = (values + 0.2 * torch.randn(BATCH, TIME, generator=generator, dtype=torch.float32).double()).float().double().requires_grad_()

    pad = EOS if case["pad_is_eos"] else PAD
    postprocessed = ppo.truncate_response(EOS, pad, responses)
    space = dict(vars(ppo))
    space.update(
        args=SimpleNamespace(**case),
        self=SimpleNamespace(args=SimpleNamespace(**case), processing_class=SimpleNamespace(eos_token_id=EOS)),
        responses=responses, postprocessed_responses=postprocessed, scores=scores.clone(), values=values.clone(),
        logprobs=logprobs.clone(), ref_logprobs=ref_logprobs.clone(),
        sequence_lengths=ppo.first_true_indices(postprocessed == pad) - 1)
    exec(EXPERIENCE, space)

    space.update(
        micro_batch_inds=torch.arange(BATCH), mb_advantage=space["advantages"], mb_logprobs=space["logprobs"],
        mb_return=space["returns"], mb_values=space["values"], new_logprobs=new_logprobs, context_length=1,
        vpred_temp=torch.cat([new_values, torch.zeros(BATCH, 1, dtype=torch.double)], 1).unsqueeze(-1))
    exec(LOSSES, space)
    exec(CLIPFRAC, space)
    exec(APPROXKL, space)
    space["pg_loss"].backward(retain_graph=True)
    space["vf_loss"].backward()

    inputs = dict(responses=responses, logprobs=logprobs, reference_logprobs=ref_logprobs, scores=scores, values=values,
                  new_logprobs=new_logprobs, new_values=new_values)
    outputs = dict(lengths=space["sequence_lengths_p1"], ended=space["contain_eos_token"], scores=space["scores"], kl=space["kl"],
                   rewards=space["rewards"], advantages=space["advantages"], returns=space["returns"], policy_loss=space["pg_loss"],
                   value_loss=space["vf_loss"], loss=space["loss"], policy_clipped=space["pg_clipfrac"],
                   value_clipped=space["vf_clipfrac"], approx_kl=space["approxkl"], ratio=space["ratio"].mean(),
                   policy_gradient=new_logprobs.grad, value_gradient=new_values.grad)
    plain = {k: v.detach().tolist() for k, v in inputs.items()}, {k: v.detach().tolist() for k, v in outputs.items()}
    return dict(settings=case, eos=EOS, inputs=plain[0], outputs=plain[1])


DEFAULTS = dict(temperature=0.7, kl_estimator="k1", kl_coef=0.05, whiten_rewards=False, missing_eos_penalty=None, gamma=1.0,
                lam=0.95, cliprange=0.2, cliprange_value=0.2, vf_coef=0.1, full=False, pad_is_eos=False)
CASES = [
    dict(name="defaults"),
    dict(name="k3_penalty", kl_estimator="k3", missing_eos_penalty=1.0, gamma=0.97, lam=0.9, kl_coef=0.2, temperature=1.0),
    dict(name="whitened_rewards", whiten_rewards=True, missing_eos_penalty=2.5, gamma=0.9, lam=1.0),
    dict(name="narrow_clips", cliprange=0.03, cliprange_value=0.05, vf_coef=0.5, kl_estimator="k3", whiten_rewards=True),
    dict(name="no_padding", full=True, lam=0.0, gamma=0.5),
    dict(name="pad_is_eos", pad_is_eos=True),
]

if __name__ == "__main__":
    cases = [run({**DEFAULTS, **case}, seed) for seed, case in enumerate(CASES, 7)]
    Path(__file__).with_name("ppo_math.json").write_text(json.dumps(dict(trl=trl.__version__, cases=cases)))
