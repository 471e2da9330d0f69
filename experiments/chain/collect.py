"""What the runs of experiments/chain/run say: the learned reward and the stated rule on the same held-out answers, over KL.

    python experiments/chain/collect.py FOLDER RESULTS      (RESULTS.csv, and RESULTS.png where matplotlib is installed)
    python experiments/chain/collect.py A.csv B.csv … PNG   (the plot alone, of results of several days)
"""
import csv
import json
import math
import pathlib
import sys

import rule



def student(freedom):
    """Student's 97.5 % point: exact for 1 and 2 degrees of freedom, else Abramowitz and Stegun 26.7.5 (0.004 off at 3, 3e-5 at 8)."""
    if freedom < 3:
        return {1: 12.7062, 2: 4.3027}[freedom]
    z = 1.959963985
    terms = (z, (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96, (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
             (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160)
    return sum(term / freedom**power for power, term in enumerate(terms))


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def interval(values):
    n, mean = len(values), sum(values) / len(values)
    if n < 2:
        return mean, math.nan, math.nan
    deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (n - 1))
    half = student(n - 1) * deviation / math.sqrt(n)
    return mean, mean - half, mean + half


def question(prompt):
    """The person's words in a prompt as the run's records show it."""
    return prompt.strip()


def rows_of(run, seed):
    by_step = {}
    for sample in lines_of(run / "ppo/samples.jsonl"):
        if sample.get("split") == "train":
            continue
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


def drift(run, seed):
    """Exact KL of the trained policy from the warm start, as `leash kl-report` found it; None where there is no report."""
    report = run / "drift/report.json"
    if not report.is_file():
        print(f"seed {seed}: no drift report")
        return None
    policy, = json.loads(report.read_text())["policies"]
    kl = policy["kl"]
    low, high = kl["ci95"] or (math.nan, math.nan)
    print(f"seed {seed}: drift report, exact KL {kl['mean_sequence']:.3f} [{low:.3f}, {high:.3f}] nats per answer, "
          f"{kl['mean_token']:.4f} per token ({policy['num_texts']} answers sampled at temperature 1)")
    return kl["mean_sequence"]


def plot(rows, drifts, path):
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4))
    for axis, name, title in ((left, "learned", "learned reward"), (right, "rule", "stated rule, 0 to 3 points")):
        for seed in sorted({row["seed"] for row in rows}):
            own = [row for row in rows if row["seed"] == seed and row["decoding"] == "sampled"]
            kl, mean = [row["kl"] for row in own], [row[name] for row in own]
            line, = axis.plot(kl, mean, marker="o", markersize=4, label=f"seed {seed}")
            if drifts.get(seed) is not None:
                axis.axvline(drifts[seed], color=line.get_color(), linestyle=":", linewidth=1)
            axis.fill_between(kl, [row[f"{name}_low"] for row in own], [row[f"{name}_high"] for row in own], alpha=0.12,
                              color=line.get_color(), linewidth=0)
        axis.set_title(title)
        axis.set_xlabel("exact KL from the warm start, nats per answer")
        axis.grid(alpha=0.3)
    left.legend()
    answers = max(row["answers"] for row in rows)
    figure.suptitle(f"{answers:.0f} held-out prompts, sampled answers; bands are 95 % intervals over prompts" +
                    ("; dotted: the drift report's KL" if drifts else ""),
                    fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main(folder, results):
    rows, drifts = [], {}
    for run in sorted(pathlib.Path(folder).glob("seed*")):
        if not (run / "ppo/adapter").is_dir():
            continue
        links(run, run.name[4:])
        rows += rows_of(run, run.name[4:])
        drifts[run.name[4:]] = drift(run, run.name[4:])
    with open(results + ".csv", "w") as out:
        out.write(",".join(rows[0]) + "\n")
        for row in rows:
            out.write(",".join(f"{value:.4g}" if isinstance(value, float) else str(value) for value in row.values()) + "\n")
    try:
        plot(rows, drifts, results + ".png")
    except ImportError:
        print("no plot: matplotlib is not installed")


def rows_read(path):
    with open(path) as file:
        return [{key: value if key in ("seed", "decoding") else float(value) for key, value in row.items()} for row in csv.DictReader(file)]


if __name__ == "__main__":
    if sys.argv[1].endswith(".csv"):
        plot([row for path in sys.argv[1:-1] for row in rows_read(path)], {}, sys.argv[-1])
    else:
        main(*sys.argv[1:])
