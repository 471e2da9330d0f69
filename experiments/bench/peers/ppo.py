"""A PPO iteration of TRL 1.12 (its last release with PPO) on a PEFT policy: the cases ppo-separate-all, ppo-separate-head.

16 prompts of 32 tokens, exactly 64 new tokens, 4 epochs of one minibatch, a full-size sequence-classification reward model.
`--critic` says whether all of the value model trains or its head; TRL has no critic on the policy's trunk.
"""
import tempfile
import time

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

from common import arguments, lora, median, random_ids, report

BATCH, PROMPT, NEW, EPOCHS = 16, 32, 64, 4


def main() -> None:
    args = arguments(__doc__, critic=["all", "head"])
    tokenizer = AutoTokenizer.from_pretrained(args.checkpoint, padding_side="left")
    tokenizer.pad_token = tokenizer.eos_token
    policy = AutoModelForCausalLM.from_pretrained(args.checkpoint, dtype=torch.float32)
    critic, reward = (AutoModelForSequenceClassification.from_pretrained(args.checkpoint, num_labels=1, dtype=torch.float32)
                      for _ in range(2))
    for model in (critic, reward):
        model.config.pad_token_id = tokenizer.pad_token_id
    if args.critic == "head":
        critic.requires_grad_(False)
        critic.score.requires_grad_(True)

    starts: list[float] = []
    sampling: list[float] = []
    tokens: list[int] = []
    generate = ppo_trainer.batch_generation

    def timed_generation(*positional, **named):
        starts.append(time.perf_counter())
        texts, logits = generate(*positional, **named)
        sampling.append(time.perf_counter() - starts[-1])
        tokens.append(texts.shape[0] * (texts.shape[1] - PROMPT))
        return texts, logits

    ppo_trainer.batch_generation = timed_generation
    data = Dataset.from_dict({"input_ids": random_ids(BATCH * (args.repeats + 2), PROMPT)})
    trainer = PPOTrainer(
        args=PPOConfig(
            output_dir=tempfile.mkdtemp(), per_device_train_batch_size=4, gradient_accumulation_steps=4, num_mini_batches=1,
            num_ppo_epochs=EPOCHS, total_episodes=BATCH * args.repeats, response_length=NEW, stop_token=None,
            local_rollout_forward_batch_size=BATCH, learning_rate=1e-5, kl_coef=0.05, temperature=0.7, report_to=[],
            num_sample_generations=0, use_cpu=True, bf16=False, gradient_checkpointing=False, save_strategy="no"),
        processing_class=tokenizer, model=policy, ref_model=None, reward_model=reward, value_model=critic, train_dataset=data,
        eval_dataset=data, peft_config=lora())
    steps = 0
    optimizer = trainer.optimizer.optimizer  # accelerate's wrapper is also called where it only accumulates
    step = optimizer.step

    def counted_step(*positional, **named):
        nonlocal steps
        steps += 1
        return step(*positional, **named)

    optimizer.step = counted_step
    trainer.train()
    ends = starts[1:] + [time.perf_counter()]
    assert set(tokens) == {BATCH * NEW}, tokens
    name = f"ppo-separate-{args.critic}"
    report("trl", [(name, median([end - start for start, end in zip(starts, ends)]), "s"),
                   (name + "-sampling", median(sampling), "s"), (name + "-tokens", tokens[-1], "tokens"),
                   (name + "-optimizer-steps", steps / args.repeats, "steps")])


main()
