"""What the runs of experiments/chain/run say: the learned reward and the stated rule on the same held-out answers, over KL.

    python experiments/chain/collect.py FOLDER RESULTS      (RESULTS.csv, and RESULTS.png where matplotlib is installed)
"""
import json
import math
import pathlib
import sys

import rule

# Student's 97.5 % points for n - 1 degrees of freedom, as far as they are needed.
T = {39: 2.0227, 38: 2.0244, 37: 2.0262}


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def interval(values):
    n, mean = len(values), sum(values) / len(values)
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    half = T[n - 1] * deviation / math.sqrt(n)
    return mean, mean - half, mean + half


def question(prompt):
    """The person's words in a prompt as the run's records show it."""
    return prompt.strip()


def rows_of(run, seed):
    by_step = {}
    for sample in lines_of(run / "ppo/samples.jsonl"):
        by_step.setdefault((sample["decoding"], sample["step"]), []).append(sample)
    start = {}
    for (decoding, step), samples in sorted(by_step.items()):
        samples.sort(key=lambda sample: sample["index"])
        columns = {
            "learned": [sample["score"] for sample in samples],
            "rule": [float(rule.points(question(sample["prompt"]), sample["answer"])) for sample in samples],
            "kl": [sample["kl"] for sample in samples],
            "addresses": [float(rule.addresses(question(sample["prompt"]), sample["answer"])) for sample in samples],
            "friendly": [float(rule.friendly(sample["answer"])) for sample in samples],
            "concise": [float(rule.concise(sample["answer"])) for sample in samples],
            "words": [float(len(rule.words(sample["answer"]))) for sample in samples],
            "ended": [float(sample["stop"] != "length") for sample in samples],
        }
        if step == 0:
            start[decoding] = columns
        row = {"seed": seed, "decoding": decoding, "step": step, "answers": len(samples)}
        for name in ("learned", "rule"):
            row[name], row[f"{name}_low"], row[f"{name}_high"] = interval(columns[name])
            gains = [after - before for after, before in zip(columns[name], start[decoding][name])]
            row[f"{name}_gain"], row[f"{name}_gain_low"], row[f"{name}_gain_high"] = interval(gains)
        for name in ("kl", "addresses", "friendly", "concise", "words", "ended"):
            row[name] = sum(columns[name]) / len(samples)
        yield row


def links(run, seed):
    """What the first two links of the chain learnt."""
    sft = [line for line in lines_of(run / "warm_start/metrics.jsonl") if "eval/loss" in line]
    reward = [line for line in lines_of(run / "reward/metrics.jsonl") if "eval/accuracy" in line]
    print(f"seed {seed}: warm start, held-out loss {sft[0]['eval/loss']:.3f} -> {sft[-1]['eval/loss']:.3f}; reward model, held-out "
          f"accuracy {reward[0]['eval/accuracy']:.3f} -> {reward[-1]['eval/accuracy']:.3f} "
          f"[{reward[-1]['eval/accuracy_low']:.3f}, {reward[-1]['eval/accuracy_high']:.3f}]")


def plot(rows, path):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    for axis, name, title in ((left, "learned", "learned reward"), (right, "rule", "stated rule, 0 to 3 points")):
        for seed in sorted({row["seed"] for row in rows}):
            own = [row for row in rows if row["seed"] == seed and row["decoding"] == "sampled"]
            kl, mean = [row["kl"] for row in own], [row[name] for row in own]
            line, = axis.plot(kl, mean, marker="o", markersize=4, label=f"seed {seed}")
            axis.fill_between(kl, [row[f"{name}_low"] for row in own], [row[f"{name}_high"] for row in own], alpha=0.12,
                              color=line.get_color(), linewidth=0)
        axis.set_title(title)
        axis.set_xlabel("exact KL from the warm start, nats per answer")
        axis.grid(alpha=0.3)
    left.legend()
    figure.suptitle("40 held-out prompts, sampled answers; bands are 95 % intervals over prompts", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main(folder, results):
    rows = []
    for run in sorted(pathlib.Path(folder).glob("seed*")):
        if not (run / "ppo/adapter").is_dir():
            continue
        links(run, run.name[4:])
        rows += rows_of(run, run.name[4:])
    with open(results + ".csv", "w") as out:
        out.write(",".join(rows[0]) + "\n")
        for row in rows:
            out.write(",".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()) + "\n")
    try:
        plot(rows, results + ".png")
    except ImportError:
        print("no plot: matplotlib is not installed")


if __name__ == "__main__":
    main(*sys.argv[1:])
