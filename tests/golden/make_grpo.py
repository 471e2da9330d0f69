"""Writes grpo.json: the losses and advantages of TRL 1.16's GRPOTrainer and RLOOTrainer, executed.

`_compute_loss` is TRL's own method, called on a stand-in that hands it given log-probs instead of a model's. The advantages are
inline in `_generate_and_score_completions`, so the script cuts those statements out of the installed source and executes them.
REINFORCE++ is in neither: its returns and baselines are loops after OpenRLHF's `get_cumulative_returns` and
`compute_advantages_and_returns` (openrlhf/trainer/ppo_utils/experience_maker.py) and verl's
`compute_reinforce_plus_plus_outcome_advantage` (verl/trainer/ppo/core_algos.py), which whitens as TRL's PPO does.

    PYTHONPATH=/path/to/trl-1.16 python tests/golden/make_grpo.py          # needs trl==1.16.*
"""
import inspect
import json
import math
import textwrap
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import torch
import trl
import trl.trainer.grpo_trainer as grpo
import trl.trainer.rloo_trainer as rloo
from trl.trainer.utils import nanstd

torch.set_default_dtype(torch.float64)
assert trl.__version__.startswith("1.16."), trl.__version__
GENERATOR = torch.Generator().manual_seed(7)
LENGTHS = [6, 1, 4, 7, 2, 5, 3, 7]
GROUP = 4
LONGEST = 7


def normal(*shape):
    """Numbers that float32 holds."""
    return torch.randn(*shape, generator=GENERATOR).float().double()


def lists(tensor):
    return tensor.detach().tolist()


MASK = torch.tensor([[1.0] * n + [0.0] * (LONGEST - n) for n in LENGTHS])
OLD = -normal(8, LONGEST).abs() * 2 - 0.1
SHIFT = normal(8, LONGEST) * 0.4
REFERENCE = OLD + normal(8, LONGEST) * 0.3
ENTROPIES = normal(8, LONGEST).abs() + 0.05
ADVANTAGES = normal(8)
SAMPLED = OLD + 0.8 * SHIFT * torch.tensor([1.0, -1.0] * 4).unsqueeze(1)


class Alone:
    """An accelerator of one process."""

    num_processes = 1
    process_index = 0
    sync_gradients = True

    def gather(self, tensor):
        return tensor

    def gather_for_metrics(self, tensor):
        return tensor

    def reduce(self, tensor, reduction):
        return tensor

    def pad_across_processes(self, tensor, dim, pad_index):
        return tensor


def stand_in(case, logprobs):
    high = case.get("epsilon_high")
    trainer = SimpleNamespace(
        model=SimpleNamespace(training=True),
        accelerator=Alone(),
        aux_loss_enabled=False,
        top_entropy_quantile=case.get("top_entropy_quantile", 1.0),
        off_policy_mask_threshold=None,
        importance_sampling_level=case.get("importance_sampling_level", "token"),
        beta=case.get("beta", 0.0),
        loss_type=case.get("loss_type", "dapo"),
        epsilon_low=case.get("epsilon", 0.2),
        epsilon_high=case.get("epsilon", 0.2) if high is None else high,
        use_vllm=case.get("correction") is not None,
        vllm_importance_sampling_correction=True,
        vllm_importance_sampling_mode=case.get("correction"),
        vllm_importance_sampling_clip_max=case.get("clip_max"),
        vllm_importance_sampling_clip_min=case.get("clip_min"),
        entropy_coef=case.get("entropy_coef", 0.0),
        use_adaptive_entropy=False,
        max_completion_length=LONGEST,
        current_gradient_accumulation_steps=1,
        _entropy_bonus_enabled="entropy_coef" in case,
        _metrics=defaultdict(lambda: defaultdict(list)),
        args=SimpleNamespace(
            delta=case.get("delta"), use_bias_correction_kl=case.get("use_bias_correction_kl", True),
            sapo_temperature_neg=1.05, sapo_temperature_pos=1.0, vespo_k_pos=2.0, vespo_lambda_pos=3.0, vespo_k_neg=3.0,
            vespo_lambda_neg=2.0, steps_per_generation=case.get("num_mini_batches", 1)),
        get_gamma_weights=grpo.GRPOTrainer.get_gamma_weights,
    )
    trainer.entropies = ENTROPIES[: len(logprobs)].clone().requires_grad_("entropy_coef" in case)
    trainer._get_per_token_logps_and_entropies = lambda *a, **k: (logprobs, trainer.entropies, None)
    trainer.get_high_entropy_mask = lambda *a: grpo.GRPOTrainer.get_high_entropy_mask(trainer, *a)
    return trainer


def loss_case(case):
    """A minibatch of TRL's. With num_mini_batches 2 it is the first half of a generation batch of eight answers."""
    rows = 8 // case.get("num_mini_batches", 1)
    mask = MASK.clone()
    for row in case.get("truncated", []):
        mask[row] = 0
    logprobs = (OLD + SHIFT)[:rows].clone().requires_grad_(True)
    inputs = {
        "prompt_ids": torch.zeros(rows, 1, dtype=torch.long), "prompt_mask": torch.ones(rows, 1),
        "completion_ids": torch.zeros(rows, LONGEST, dtype=torch.long), "completion_mask": mask[:rows],
        "advantages": ADVANTAGES[:rows], "old_per_token_logps": OLD[:rows], "ref_per_token_logps": REFERENCE[:rows],
        "num_items_in_batch": mask.sum(),
    }
    trainer = stand_in(case, logprobs)
    loss = grpo.GRPOTrainer._compute_loss(trainer, None, inputs)
    loss.backward()
    metrics = {name: values[0] for name, values in trainer._metrics["train"].items() if not math.isnan(values[0])}
    return {"settings": case, "loss": loss.item(), "gradient": lists(logprobs.grad), "metrics": metrics}


def corrections(case):
    """TRL's weights for what sampling and training differ by, from the statements of the method."""
    scope = run(CORRECTIONS, stand_in(case, OLD), old_per_token_logps=OLD, sampling_per_token_logps=SAMPLED,
                completion_mask=MASK, tool_mask=None, math=math)
    ratio = scope["vllm_importance_sampling_ratio"]
    return ratio.expand(8, LONGEST) if ratio.shape[1] == 1 else ratio


def corrected_case(case):
    """The loss with such weights and with the entropy bonus."""
    logprobs = (OLD + SHIFT).clone().requires_grad_(True)
    inputs = {
        "prompt_ids": torch.zeros(8, 1, dtype=torch.long), "prompt_mask": torch.ones(8, 1),
        "completion_ids": torch.zeros(8, LONGEST, dtype=torch.long), "completion_mask": MASK,
        "advantages": ADVANTAGES, "old_per_token_logps": OLD, "ref_per_token_logps": REFERENCE,
        "num_items_in_batch": MASK.sum(),
    }
    out = {"settings": case}
    if "correction" in case:
        inputs["importance_sampling_ratio"] = corrections(case)
        out["weights"] = lists(inputs["importance_sampling_ratio"] * MASK)
    trainer = stand_in(case, logprobs)
    loss = grpo.GRPOTrainer._compute_loss(trainer, None, inputs)
    loss.backward()
    entropies = trainer.entropies.grad
    return {**out, "loss": loss.item(), "gradient": lists(logprobs.grad),
            "entropy_gradient": lists(entropies if entropies is not None else torch.zeros_like(ENTROPIES))}


def corrected_cases():
    cases = [{"correction": mode, "clip_max": high, "clip_min": low, "loss_type": kind}
             for mode in ["token_truncate", "token_mask", "sequence_truncate", "sequence_mask"]
             for high, low, kind in [(1.2, None, "dapo"), (1.3, 0.8, "grpo"), (None, 0.9, "cispo")]]
    cases += [{"correction": "token_mask", "clip_max": 1.2, "loss_type": "vespo"},
              {"correction": "token_truncate", "clip_max": 1.2, "clip_min": 0.9, "loss_type": "vespo", "beta": 0.1},
              {"entropy_coef": 0.3, "loss_type": "dapo"}, {"entropy_coef": 0.3, "loss_type": "grpo", "beta": 0.2},
              {"entropy_coef": 0.1, "loss_type": "dr_grpo", "top_entropy_quantile": 0.4, "correction": "sequence_mask",
               "clip_max": 3.0}]
    return [corrected_case(case) for case in cases]


def dual_clip_case(c, low, high):
    """Dual clip (Ye et al. 2020, eq. 5) as verl's compute_policy_loss_vanilla has it, token means."""
    logprobs = (OLD + 3 * SHIFT).clone().requires_grad_(True)
    ratio = torch.exp(logprobs - OLD)
    advantages = ADVANTAGES.unsqueeze(1)
    once = torch.maximum(-advantages * ratio, -advantages * torch.clamp(ratio, 1 - low, 1 + high))
    twice = torch.minimum(-advantages * c, once)
    losses = torch.where(advantages < 0, twice, once)
    loss = (losses * MASK).sum() / MASK.sum()
    loss.backward()
    return {"delta": c, "epsilon": low, "epsilon_high": high, "loss": loss.item(), "logprobs": lists(OLD + 3 * SHIFT),
            "gradient": lists(logprobs.grad)}


def loss_cases():
    cases = []
    for kind in ["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "sapo", "luspo", "vespo"]:
        for level in ["token", "sequence"]:
            # Ratios of whole answers are near 1.
            low, high = (0.2, 0.28) if level == "token" else (0.02, 0.03)
            cases.append({"loss_type": kind, "importance_sampling_level": level, "epsilon": low,
                          "epsilon_high": 1 + high if kind == "cispo" else high})
            cases.append({"loss_type": kind, "importance_sampling_level": level, "beta": 0.1, "num_mini_batches": 2,
                          "truncated": [1, 6], "top_entropy_quantile": 0.4})
    cases.append({"loss_type": "grpo", "delta": 1.5, "beta": 0.1, "use_bias_correction_kl": False})
    cases.append({"loss_type": "dapo", "delta": 1.1, "epsilon": 0.1, "truncated": [0, 1, 2, 3, 4, 5, 6, 7]})
    return [loss_case(case) for case in cases]


def rloo_loss_case(case):
    logprobs = (OLD + SHIFT).clone().requires_grad_(True)
    trainer = stand_in(case, logprobs)
    inputs = {
        "prompt_ids": torch.zeros(8, 1, dtype=torch.long), "prompt_mask": torch.ones(8, 1),
        "completion_ids": torch.zeros(8, LONGEST, dtype=torch.long), "completion_mask": MASK,
        "advantages": ADVANTAGES, "old_logps": (OLD * MASK).sum(1),
    }
    loss = rloo.RLOOTrainer._compute_loss(trainer, None, inputs)
    loss.backward()
    return {"settings": case, "loss": loss.item(), "gradient": lists(logprobs.grad)}


def block(method, first, last, begin_after=""):
    """The statements from the line that holds `first` up to (without) the next one that holds `last`."""
    source = inspect.getsource(method).splitlines()
    start = next(i for i, line in enumerate(source) if first in line)
    end = next(i for i, line in enumerate(source) if i > start and last in line)
    return compile(textwrap.dedent("\n".join(source[start:end])), "trl", "exec")


GRPO_ADVANTAGES = block(grpo.GRPOTrainer._generate_and_score_completions, "rewards = (rewards_per_func * self.reward_weights",
                        'elif self.multi_objective_aggregation == "normalize_then_sum"')
RLOO_ADVANTAGES = block(rloo.RLOOTrainer._generate_and_score_completions, "if self.reward_clip_range:",
                        "# Slice to keep only")
CORRECTIONS = block(grpo.GRPOTrainer._generate_and_score_completions,
                    "if self.use_vllm and self.vllm_importance_sampling_correction:",
                    "# Compute the per-token log probabilities for the reference model")
REWARDS = torch.tensor([1.0, 0.0, 0.25, 3.0, 0.1, 0.1, 0.1, 0.1]).float().double()


def run(code, trainer, **names):
    scope = {"torch": torch, "nanstd": nanstd, "self": trainer, "gather": lambda t: t, **names}
    exec(code, scope)
    return scope


def advantage_cases():
    cases = []
    for scale in ["group", "batch", "none"]:
        scope = run(GRPO_ADVANTAGES, SimpleNamespace(reward_weights=torch.ones(1), scale_rewards=scale),
                    rewards_per_func=REWARDS.unsqueeze(1), device="cpu", num_generations=GROUP,
                    unscorable_mask=torch.zeros(8, dtype=torch.bool))
        cases.append({"task": "grpo", "scale_rewards": scale, "advantages": lists(scope["advantages"]),
                      "flat": scope["is_std_zero"].double().mean().item()})
    for settings in [{}, {"beta": 0.05}, {"normalize_advantages": True, "beta": 0.05}, {"reward_clip_range": [0.05, 0.5]}]:
        trainer = SimpleNamespace(reward_clip_range=settings.get("reward_clip_range"), beta=settings.get("beta", 0.0),
                                  normalize_advantages=settings.get("normalize_advantages", False))
        scope = run(RLOO_ADVANTAGES, trainer, rewards=REWARDS.clone(), old_per_token_logps=OLD,
                    ref_per_token_logps=REFERENCE, completion_mask=MASK, num_generations=GROUP)
        cases.append({"task": "rloo", **settings, "advantages": lists(scope["advantages"]),
                      "flat": scope["is_std_zero"].double().mean().item()})
    return cases


def reinforce_case(baseline, beta, gamma, whiten):
    rewards = REWARDS.clone()
    if baseline == "group":
        rewards = (rewards.view(-1, GROUP) - rewards.view(-1, GROUP).mean(-1, keepdim=True)).view(-1)
    if baseline == "batch":
        rewards = rewards - rewards.mean()
    returns = torch.zeros(8, LONGEST)
    for row, length in enumerate(LENGTHS):
        running = 0.0
        for t in reversed(range(length)):
            reward = -beta * (OLD[row, t] - REFERENCE[row, t])
            if t == length - 1:
                reward = reward + rewards[row]
            running = reward + gamma * running
            returns[row, t] = running
    if whiten:
        counted = returns[MASK.bool()]
        returns = (returns - counted.mean()) * torch.rsqrt(counted.var(unbiased=True) + 1e-8) * MASK
    return {"task": "reinforce", "baseline": baseline, "beta": beta, "gamma": gamma, "whiten_advantages": whiten,
            "advantages": lists(returns)}


def main():
    out = {
        "trl": trl.__version__,
        "lengths": LENGTHS, "group": GROUP, "longest": LONGEST,
        "old": lists(OLD), "logprobs": lists(OLD + SHIFT), "reference": lists(REFERENCE), "entropies": lists(ENTROPIES),
        "advantages": lists(ADVANTAGES), "rewards": lists(REWARDS),
        "losses": loss_cases(),
        "sampled": lists(SAMPLED), "corrected_losses": corrected_cases(),
        "dual_clip": [dual_clip_case(1.6, 0.2, 0.28), dual_clip_case(3.0, 0.2, 0.2)],
        "rloo_losses": [rloo_loss_case({}), rloo_loss_case({"epsilon": 0.1, "epsilon_high": 0.4})],
        "advantage_cases": advantage_cases() + [
            reinforce_case(baseline, beta, gamma, whiten)
            for baseline in ["none", "batch", "group"] for beta, gamma, whiten in [(0.0, 1.0, True), (0.1, 0.9, False)]],
    }
    path = Path(__file__).with_name("grpo.json")
    path.write_text(json.dumps(out, separators=(",", ":")) + "\n")
    print(path, path.stat().st_size)


main()
