"""PPO with TRL 1.12 and PEFT as a recipe of leash says: trl_run.py SETTINGS.yaml IDS.jsonl OUT [--zero-head]

SETTINGS.yaml is what `leash config show` prints of ppo.yaml with `critic: {kind: separate, train: all, path: …}`; IDS.jsonl has the token
ids of its prompts. OUT gets metrics.jsonl (a line per iteration, flushed), answers.jsonl (what was sampled and how it was scored),
snapshots/step-N and adapter/ in PEFT's format.

TRL as it stands, but for four things, each through its own interface where there is one:
- two groups of parameters in one AdamW (`optimizers=`), so that the critic has its own learning rate;
- a pad token that is no word of the vocabulary, as in TRL's own example: TRL leaves out of every pass what equals it, and SmolLM2's own
  pad token is <|im_end|>, which stands in every prompt and ends every answer;
- batches in the order of the file (its loader always shuffles), so that both programs ask the same in the same iteration;
- accelerate's `sync_with_dataloader` is off: else the last batch of a pass over the prompts gets an optimizer step per micro-batch.
The critic starts as TRL's example starts it: as the reward model, score head included; --zero-head gives it leash's head of zeros.
"""
import argparse
import json
import os
import pathlib
import resource
import time

os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
import torch
import yaml
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from torch.utils.data import DataLoader
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer, TrainerCallback
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

ROWS = 4  # of a pass of TRL: as many as experiments/bench gives it


def lora_config(lora: dict) -> LoraConfig:
    return LoraConfig(r=lora["r"], lora_alpha=float(lora["lora_alpha"]), lora_dropout=0.0, bias="none", task_type="CAUSAL_LM",
                      target_modules=lora["target_modules"], layers_to_transform=lora["layers_to_transform"] or None)


def check_settings(settings: dict) -> None:
    """What trl_run.py does not pass on must be what TRL does anyway."""
    ppo, rollout, (reward,) = settings["ppo"], settings["rollout"], settings["reward"]
    assert settings["critic"]["kind"] == "separate" and settings["critic"]["train"] == "all", settings["critic"]
    assert reward["kind"] == "model" and reward["weight"] == 1, reward
    assert rollout["stop_token"] == "eos" and rollout["top_k"] == 0 and rollout["top_p"] == 1 and rollout["min_p"] == 0, rollout
    assert rollout["repetition_penalty"] == 1 and rollout["min_new_tokens"] == 0 and not rollout["stop_texts"], rollout
    assert ppo["max_grad_norm"] == 0 and ppo["num_mini_batches"] == 1 and ppo["kl_target"] is None, ppo
    assert ppo["lr_scheduler_type"] == "linear" and ppo["warmup_ratio"] == 0 and ppo["warmup_steps"] == 0, ppo
    assert settings["data"]["shuffle"] is False and not settings["model"]["gradient_checkpointing"], settings


class Recorder(TrainerCallback):
    """Writes what an iteration did. Its clock runs from the first iteration on; loading is not in it."""

    def __init__(self, out: pathlib.Path, batch: int, pad: int, eos: int, penalty: float, save_steps: int):
        self.out, self.batch, self.pad, self.eos, self.penalty, self.save_steps = out, batch, pad, eos, penalty, save_steps
        self.metrics = open(out / "metrics.jsonl", "w")
        self.answers = open(out / "answers.jsonl", "w")
        self.policy = self.reward_model = self.prompts = None
        self.start = self.sampled = 0.0

    def watch(self, policy, reward_model, prompts) -> None:
        self.policy, self.reward_model, self.prompts = policy, reward_model, prompts
        generate, get_reward = ppo_trainer.batch_generation, ppo_trainer.get_reward

        def timed_generation(*args, **kwargs):
            begin = time.perf_counter()
            result = generate(*args, **kwargs)
            self.sampled = time.perf_counter() - begin
            return result

        def seen_reward(model, rows, pad, context_length):
            result = get_reward(model, rows, pad, context_length)
            if model is self.reward_model:
                self.scored = rows.tolist(), context_length, result[1].tolist()
            return result

        ppo_trainer.batch_generation, ppo_trainer.get_reward = timed_generation, seen_reward

    def on_train_begin(self, args, state, control, **kwargs):
        self.start = time.perf_counter()

    def on_log(self, args, state, control, logs=None, **kwargs):
        seconds = time.perf_counter() - self.start
        rows, context, raw = self.scored
        prompts = [[token for token in row[:context] if token != self.pad] for row in rows]
        answers = [[token for token in row[context:] if token != self.pad] for row in rows]
        first = (state.global_step - 1) * self.batch
        assert prompts == [self.prompts[(first + i) % len(self.prompts)] for i in range(self.batch)], "not the prompts of this iteration"
        ended = [answer[-1] == self.eos for answer in answers]
        scores = [score - self.penalty * (not end) for score, end in zip(raw, ended)]
        mean = sum(scores) / self.batch
        assert abs(mean - logs["objective/scores"]) < 1e-3, (mean, logs)
        deviation = (sum((score - mean) ** 2 for score in scores) / (self.batch - 1)) ** 0.5
        line = {"step": state.global_step, "seconds": seconds, "seconds_sampling": self.sampled,
                "objective/scores": mean, "objective/scores_std": deviation, "scores_without_penalty": sum(raw) / self.batch,
                "ended": sum(ended), "response_length": sum(map(len, answers)) / self.batch,
                "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6}
        self.metrics.write(json.dumps(line | {name: value for name, value in logs.items() if name not in line}) + "\n")
        self.metrics.flush()
        for prompt, answer, score in zip(prompts, answers, raw):
            self.answers.write(json.dumps({"step": state.global_step, "token_ids": prompt + answer, "score": score}) + "\n")
        self.answers.flush()

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step % self.save_steps == 0 or state.global_step == state.max_steps:
            self.policy.save_pretrained(self.out / f"snapshots/step-{state.global_step}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("settings", type=pathlib.Path)
    parser.add_argument("ids", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--zero-head", action="store_true")
    args = parser.parse_args()
    settings = yaml.safe_load(args.settings.read_text())
    check_settings(settings)
    ppo, rollout, critic = settings["ppo"], settings["rollout"], settings["critic"]
    batch, seed = ppo["batch_size"], settings["run"]["seed"]
    threads = settings["run"]["threads"] or os.cpu_count()
    torch.set_num_threads(threads)
    torch.manual_seed(seed)
    args.out.mkdir(parents=True, exist_ok=True)

    tokenizer = AutoTokenizer.from_pretrained(settings["model"]["path"], padding_side="left")
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    policy = AutoModelForCausalLM.from_pretrained(settings["model"]["path"], dtype=torch.float32)
    reward, value = (AutoModelForSequenceClassification.from_pretrained(path, num_labels=1, dtype=torch.float32)
                     for path in (settings["reward"][0]["path"], critic["path"]))
    if args.zero_head:
        torch.nn.init.zeros_(value.score.weight)
    assert tokenizer.pad_token_id >= policy.config.vocab_size
    policy = get_peft_model(policy, lora_config(settings["lora"]))

    rows = min(ROWS, batch)
    iterations = -(-ppo["total_episodes"] // batch)
    optimizer = torch.optim.AdamW(
        [{"params": [p for p in policy.parameters() if p.requires_grad], "lr": float(ppo["learning_rate"])},
         {"params": list(value.parameters()), "lr": float(critic["learning_rate"])}],
        betas=(float(ppo["adam_beta1"]), float(ppo["adam_beta2"])), eps=float(ppo["adam_epsilon"]),
        weight_decay=float(ppo["weight_decay"]), fused=True)  # transformers' default form
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1.0 - step / iterations))

    prompts = [json.loads(line)["token_ids"] for line in args.ids.read_text().splitlines()]
    assert len(prompts) % batch == 0, "TRL drops a last part of a pass, leash goes on with the next pass"
    data = Dataset.from_dict({"input_ids": prompts})
    recorder = Recorder(args.out, batch, tokenizer.pad_token_id, tokenizer.eos_token_id, float(ppo["missing_eos_penalty"] or 0),
                        settings["run"]["save_steps"])
    trainer = PPOTrainer(
        args=PPOConfig(
            output_dir=str(args.out / "trainer"), per_device_train_batch_size=rows, gradient_accumulation_steps=batch // rows,
            num_mini_batches=1, num_ppo_epochs=ppo["num_ppo_epochs"], total_episodes=ppo["total_episodes"],
            response_length=rollout["response_length"], stop_token="eos", temperature=float(rollout["temperature"]),
            local_rollout_forward_batch_size=batch, kl_coef=float(ppo["kl_coef"]), kl_estimator=ppo["kl_estimator"],
            cliprange=float(ppo["cliprange"]), cliprange_value=float(ppo["cliprange_value"]), vf_coef=float(ppo["vf_coef"]),
            gamma=float(ppo["gamma"]), lam=float(ppo["lam"]), whiten_rewards=ppo["whiten_rewards"],
            missing_eos_penalty=ppo["missing_eos_penalty"], seed=seed, report_to=[], num_sample_generations=0, use_cpu=True, bf16=False,
            gradient_checkpointing=False, save_strategy="no", disable_tqdm=True),
        processing_class=tokenizer, model=policy, ref_model=None, reward_model=reward, value_model=value, train_dataset=data,
        eval_dataset=data, optimizers=(optimizer, schedule), callbacks=[recorder])
    trainer.dataloader = trainer.accelerator.prepare(
        DataLoader(data, batch_size=batch, shuffle=False, collate_fn=trainer.data_collator, drop_last=True))
    trainer.accelerator.gradient_state.plugin_kwargs["sync_with_dataloader"] = False
    recorder.watch(policy, trainer.reward_model, prompts)
    steps = []
    optimizer.register_step_pre_hook(lambda optimizer, *_: steps.append([group["lr"] for group in optimizer.param_groups]))
    trainer.train()
    assert len(steps) == iterations * ppo["num_ppo_epochs"], f"{len(steps)} optimizer steps"
    print(f"{len(steps)} optimizer steps; learning rates of policy and critic {steps[0]} to {steps[-1]}")
    policy.save_pretrained(args.out / "adapter")


main()
