"""Held-out answers of every policy, sampled and scored by leash whoever trained it: judge.py SETTINGS.yaml OUT LEASH SAMPLES THREADS

Policies are the start and what lies in OUT/runs/*/snapshots. Answers are drawn as in training, with the same keys for every policy
(seeds 1 to SAMPLES); scores have no penalty for answers that do not end. OUT/held_out gets a JSONL file per policy, kl/report.json (exact
KL from the start of the last adapters, one answer per prompt at temperature 1), and rescored.json: how far leash's scores are from
those that TRL saw while it trained.
"""
import json
import pathlib
import subprocess
import sys

import yaml


def lines_of(text: str) -> list[dict]:
    return [json.loads(line) for line in text.splitlines()]


def done(file: pathlib.Path, names: set[str]) -> bool:
    return file.is_file() and set(json.loads(file.read_text())) == names


class Leash:
    def __init__(self, program: str, threads: str):
        self.program, self.threads = program, threads

    def __call__(self, command: str, *args) -> list[dict]:
        return lines_of(subprocess.run([self.program, command, "--threads", self.threads, "--json", *map(str, args)], check=True,
                                       capture_output=True, text=True).stdout)

    def scores(self, reward: str, texts: list[list[int]], scratch: pathlib.Path) -> list[float]:
        """As the reward model of both programs reads them: prompt and answer, at the last token."""
        scratch.write_text("".join(json.dumps({"token_ids": text}) + "\n" for text in texts))
        scores = [row["score"] for row in self("score", "--model", reward, "--input", scratch)]
        scratch.unlink()
        return scores


def judge(leash: Leash, settings: dict, out: pathlib.Path, adapter: pathlib.Path | None, samples: int, target: pathlib.Path) -> None:
    answers = []
    for seed in range(1, samples + 1):
        printed = leash("generate", "--model", settings["model"]["path"], *(["--adapter", adapter] if adapter else []), "--input",
                        out / "prompts.held_out.jsonl", "--temperature", settings["rollout"]["temperature"], "--max-new-tokens",
                        settings["rollout"]["response_length"], "--seed", seed)
        answers += [{"prompt": number, "seed": seed, "prompt_ids": row["prompt_ids"], "token_ids": row["token_ids"],
                     "stop": row["stop"], "text": row["text"]} for number, row in enumerate(printed)]
    scores = leash.scores(settings["reward"][0]["path"], [a["prompt_ids"] + a["token_ids"] for a in answers],
                          target.with_suffix(".ids"))
    part = target.with_suffix(".part")
    part.write_text("".join(json.dumps(answer | {"score": score}) + "\n" for answer, score in zip(answers, scores, strict=True)))
    part.rename(target)


def main(settings_file: str, out_folder: str, program: str, samples: str, threads: str) -> None:
    out, leash = pathlib.Path(out_folder), Leash(program, threads)
    settings = yaml.safe_load(pathlib.Path(settings_file).read_text())
    results = out / "held_out"
    results.mkdir(exist_ok=True)
    runs = sorted(folder for folder in (out / "runs").iterdir() if (folder / "adapter").is_dir())
    policies = {"start.step-0": None}
    for run in runs:
        policies |= {f"{run.name}.{snapshot.name}": snapshot for snapshot in sorted((run / "snapshots").glob("step-*"))}
    for name, adapter in policies.items():
        if not (results / f"{name}.jsonl").is_file():
            print(f"held-out answers of {name}", file=sys.stderr)
            judge(leash, settings, out, adapter, int(samples), results / f"{name}.jsonl")

    names = {run.name for run in runs}
    if not done(results / "kl.json", names):
        adapters = [argument for run in runs for argument in ("--policy", run / "adapter")]
        leash("kl-report", "--model", settings["model"]["path"], *adapters, "--input", out / "prompts.held_out.jsonl", "--out",
              results / "kl", "--seed", 1, "--max-new-tokens", settings["rollout"]["response_length"])
        found = json.loads((results / "kl/report.json").read_text())["policies"]
        (results / "kl.json").write_text(json.dumps({run.name: policy["kl"] for run, policy in zip(runs, found, strict=True)}) + "\n")

    trl = [run for run in runs if (run / "answers.jsonl").is_file()]
    if not done(results / "rescored.json", {run.name for run in trl}):
        rescored = {}
        for run in trl:
            seen = lines_of((run / "answers.jsonl").read_text())
            ours = leash.scores(settings["reward"][0]["path"], [row["token_ids"] for row in seen], results / "rescored.ids")
            rescored[run.name] = {"answers": len(seen),
                                  "largest_difference": max(abs(a["score"] - b) for a, b in zip(seen, ours, strict=True))}
        (results / "rescored.json").write_text(json.dumps(rescored) + "\n")


main(*sys.argv[1:])
