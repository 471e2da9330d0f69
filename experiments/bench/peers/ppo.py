"""A PPO iteration of TRL 1.12 (its last release with PPO) on a PEFT policy.

16 prompts of 32 tokens, exactly 64 new tokens, 4 epochs of one minibatch, a full-size sequence-classification reward model.
`--critic` says whether all of the value model trains or its head; TRL has no critic on the policy's trunk, so that our case
ppo-shared stands beside ppo-separate-all.

`--texts ragged`: prompts of 8 to 128 tokens and answers of 8 to 64 (the lengths of experiments/bench/training.cpp). TRL samples 64
tokens whatever comes and cuts at the stop token afterwards; that token is put where the answer has to end.
"""
import tempfile

import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
from trl.experimental.ppo import PPOConfig, PPOTrainer, ppo_trainer

from common import arguments, lora, median, now, random_ids, report

BATCH, PROMPT, NEW, EPOCHS = 16, 32, 64, 4


def spread(i: int) -> float:
    return (i * 7) % BATCH / (BATCH - 1)


RAGGED_PROMPTS = [round(8 + 120 * spread(i)) for i in range(BATCH)]
RAGGED_ANSWERS = [round(8 + 56 * spread(3 * i + 5)) for i in range(BATCH)]


def main() -> None:
    args = arguments(__doc__, critic=["all", "head"], texts=["equal", "ragged"])
    ragged = args.texts == "ragged"
    tokenizer = AutoTokenizer.from_pretrained(args.checkpoint, padding_side="left")
    tokenizer.pad_token = tokenizer.eos_token
    policy = AutoModelForCausalLM.from_pretrained(args.checkpoint, dtype=args.dtype)
    critic, reward = (AutoModelForSequenceClassification.from_pretrained(args.checkpoint, num_labels=1, dtype=args.dtype)
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
        starts.append(now())
        texts, logits = generate(*positional, **named)
        sampling.append(now() - starts[-1])
        tokens.append(BATCH * NEW)
        assert texts.shape == (BATCH, longest + NEW), texts.shape
        if ragged:
            for row, ids in enumerate(positional[1]):
                prompt = int((ids != tokenizer.pad_token_id).sum())
                end = longest + RAGGED_ANSWERS[RAGGED_PROMPTS.index(prompt)] - 1
                answer = texts[row, longest:end]
                answer[answer == tokenizer.eos_token_id] = 1000
                texts[row, end] = tokenizer.eos_token_id
            tokens[-1] = sum(RAGGED_ANSWERS)
        return texts, logits

    ppo_trainer.batch_generation = timed_generation
    longest = max(RAGGED_PROMPTS) if ragged else PROMPT
    if ragged:  # 16 rows, so that TRL's shuffling batches have all lengths
        prompts = [ids[:length] for ids, length in zip(random_ids(BATCH, longest), RAGGED_PROMPTS)]
    else:
        prompts = random_ids(BATCH * (args.repeats + 2), longest)
    data = Dataset.from_dict({"input_ids": prompts})
    rows = BATCH if args.device == "cuda" else 4  # of a pass: as many as fit
    trainer = PPOTrainer(
        args=PPOConfig(
            output_dir=tempfile.mkdtemp(), per_device_train_batch_size=rows, gradient_accumulation_steps=BATCH // rows, num_mini_batches=1,
            num_ppo_epochs=EPOCHS, total_episodes=BATCH * args.repeats, response_length=NEW, stop_token="eos" if ragged else None,
            local_rollout_forward_batch_size=BATCH, learning_rate=1e-5, kl_coef=0.05, temperature=0.7, report_to=[],
            num_sample_generations=0, use_cpu=args.device == "cpu", bf16=False, gradient_checkpointing=False, save_strategy="no"),
        processing_class=tokenizer, model=policy, ref_model=None, reward_model=reward, value_model=critic, train_dataset=data,
        eval_dataset=data, peft_config=lora())
    # Ragged batches are the whole data set each: accelerate would step at every micro-batch of a loader's last batch.
    trainer.accelerator.gradient_state.plugin_kwargs["sync_with_dataloader"] = False
    steps = 0
    optimizer = trainer.optimizer.optimizer  # accelerate's wrapper is also called where it only accumulates
    step = optimizer.step

    def counted_step(*positional, **named):
        nonlocal steps
        steps += 1
        return step(*positional, **named)

    optimizer.step = counted_step
    trainer.train()
    ends = starts[1:] + [now()]
    assert set(tokens) == {sum(RAGGED_ANSWERS) if ragged else BATCH * NEW}, tokens
    name = f"ppo-separate-{args.critic}" + ("-ragged" if ragged else "")
    report("trl", args, [(name, median([end - start for start, end in zip(starts, ends)]), "s"),
                   (name + "-sampling", median(sampling), "s"), (name + "-tokens", tokens[-1], "tokens"),
                   (name + "-optimizer-steps", steps / args.repeats, "steps")])


main()
