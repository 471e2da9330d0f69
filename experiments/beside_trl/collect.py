"""What the runs say, side by side: collect.py SETTINGS.yaml OUT

OUT gets curves.csv (an iteration a line), held_out.csv (a policy a line), table.md and beside_trl.png.

`score` is what PPO makes large in both programs, the reward model's score minus missing_eos_penalty for an answer that did not end;
`score_without_penalty` is the score alone, and so is every held-out score. An iteration's score is that of the policy before its update: `seconds_before`
is the training that this policy has had, `seconds` the time at the end of the iteration. leash's are perf/seconds added up, TRL's a
clock that starts with the first iteration.
"""
import csv
import importlib.util
import json
import pathlib
import statistics
import sys

import yaml

CHAIN = pathlib.Path(__file__).resolve().parents[1] / "chain"
sys.path.append(str(CHAIN))
import rule

specification = importlib.util.spec_from_file_location("chain_collect", CHAIN / "collect.py")
chain = importlib.util.module_from_spec(specification)
specification.loader.exec_module(chain)

NAMES = {"leash-shared": "leash, critic on the policy's trunk", "leash-separate": "leash, critic separate, trained whole",
         "trl": "TRL 1.12 + PEFT, critic separate, trained whole", "trl-zero-head": "TRL 1.12 + PEFT, the same, head of zeros"}


def lines_of(path: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def curve(run: pathlib.Path, batch: int, penalty: float) -> list[dict]:
    rows, before = [], 0.0
    for line in lines_of(run / "metrics.jsonl"):
        if line["step"] == 0:
            continue
        ours = "perf/seconds" in line
        seconds = before + line["perf/seconds"] if ours else line["seconds"]
        ended = line["val/num_eos_tokens" if ours else "ended"]
        score = line["objective/scores"]
        rows.append({
            "program": run.name, "iteration": line["step"], "seconds_before": before, "seconds": seconds, "score": score,
            "score_half_interval": 1.96 * line["objective/scores_std"] / batch**0.5,
            "score_without_penalty": score + penalty * (1 - ended / batch), "kl": line["objective/kl"],
            "length": line["val/response_length" if ours else "response_length"], "ended": ended / batch,
            "seconds_sampling": line["perf/seconds_sampling" if ours else "seconds_sampling"],
            "peak_mb": line["perf/peak_memory_mb" if ours else "peak_memory_mb"], "lr": line["lr"]})
        before = seconds
    return rows


def held_out_rows(out: pathlib.Path) -> list[dict]:
    """Means over a prompt's samples first: intervals are over prompts, gains over the start paired by prompt."""
    questions = [prompt["messages"][-1]["content"] for prompt in lines_of(out / "prompts.held_out.jsonl")]
    policies = {}
    for path in (out / "held_out").glob("*.jsonl"):
        program, step = path.stem.rsplit(".step-", 1)
        columns = {name: [[] for _ in questions] for name in ("reward", "rule", "tokens", "ended")}
        for answer in lines_of(path):
            number = answer["prompt"]
            columns["reward"][number].append(answer["score"])
            columns["rule"][number].append(float(rule.points(questions[number], answer["text"])))
            columns["tokens"][number].append(float(len(answer["token_ids"])))
            columns["ended"][number].append(float(answer["stop"] != "length"))
        policies[program, int(step)] = {name: [statistics.fmean(values) for values in lists] for name, lists in columns.items()}
    start = policies["start", 0]
    rows = []
    for (program, step), columns in sorted(policies.items()):
        row = {"program": program, "iteration": step}
        for name in ("reward", "rule"):
            row[name], row[f"{name}_low"], row[f"{name}_high"] = chain.interval(columns[name])
            gains = [after - before for after, before in zip(columns[name], start[name], strict=True)]
            row[f"{name}_gain"], row[f"{name}_gain_low"], row[f"{name}_gain_high"] = chain.interval(gains)
        row["tokens"], row["ended"] = statistics.fmean(columns["tokens"]), statistics.fmean(columns["ended"])
        rows.append(row)
    return rows


def write_csv(path: pathlib.Path, rows: list[dict]) -> None:
    with open(path, "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(rows[0])
        writer.writerows([f"{value:.5g}" if isinstance(value, float) else value for value in row.values()] for row in rows)


def table(curves: dict[str, list[dict]], held_out: list[dict], kl: dict) -> str:
    """A program a column, the start first; held-out figures are those of the last iteration."""
    def with_interval(row: dict, name: str) -> str:
        return f"{row[name]:.2f} [{row[name + '_low']:.2f}, {row[name + '_high']:.2f}]"

    start = next(row for row in held_out if row["program"] == "start")
    columns = [["", "start"], ["seconds per iteration, median", ""], ["seconds of training in all", ""], ["peak memory", ""],
               ["training score, first two → last two iterations", ""], ["held-out reward [95 %]", with_interval(start, "reward")],
               ["… gain over the start, paired [95 %]", ""], ["stated rule, 0 to 3 points", f"{start['rule']:.2f}"], ["… gain [95 %]", ""],
               ["tokens per answer", f"{start['tokens']:.1f}"], ["answers that end by themselves", f"{start['ended']:.2f}"],
               ["exact KL from the start, nats per answer [95 %]", "0"]]
    for program, rows in curves.items():
        last = next(row for row in held_out if row["program"] == program and row["iteration"] == rows[-1]["iteration"])
        two = min(2, len(rows))
        low, high = kl[program]["ci95"] or (float("nan"), float("nan"))
        cells = [NAMES[program], f"{statistics.median(row['seconds'] - row['seconds_before'] for row in rows):.0f}",
                 f"{rows[-1]['seconds']:.0f}", f"{max(row['peak_mb'] for row in rows) / 1e3:.1f} GB",
                 " → ".join(f"{statistics.fmean(row['score'] for row in part):.2f}" for part in (rows[:two], rows[-two:])),
                 with_interval(last, "reward"), with_interval(last, "reward_gain"), f"{last['rule']:.2f}",
                 with_interval(last, "rule_gain"), f"{last['tokens']:.1f}", f"{last['ended']:.2f}",
                 f"{kl[program]['mean_sequence']:.2f} [{low:.2f}, {high:.2f}]"]
        for line, cell in zip(columns, cells, strict=True):
            line.append(cell)
    lines = ["| " + " | ".join(cells) + " |" for cells in columns]
    return "\n".join([lines[0], "|---" * (len(curves) + 2) + "|", *lines[1:]]) + "\n"


def plot(curves: dict[str, list[dict]], path: pathlib.Path) -> None:
    import matplotlib
    matplotlib.use("Agg")
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(1, 2, figsize=(11, 4.2), sharey=True)
    for axis, column, title in ((axes[0], "iteration", "iteration"),
                                (axes[1], "seconds_before", "seconds of training behind the policy that is scored")):
        for program, rows in curves.items():
            x, y, half = ([row[name] for row in rows] for name in (column, "score", "score_half_interval"))
            line, = axis.plot(x, y, marker="o", markersize=4, linestyle="--" if program.startswith("trl") else "-",
                              label=NAMES.get(program, program))
            axis.fill_between(x, [a - b for a, b in zip(y, half)], [a + b for a, b in zip(y, half)], alpha=0.1, linewidth=0,
                              color=line.get_color())
        axis.set_xlabel(title)
        axis.grid(alpha=0.3)
    axes[0].xaxis.get_major_locator().set_params(integer=True)
    axes[0].set_ylabel("reward model's score, penalty for no end included")
    axes[0].legend(fontsize=8)
    figure.suptitle("the same prompts in each iteration; bands are 95 % intervals over an iteration's answers", fontsize=9)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main(settings_file: str, out_folder: str) -> None:
    out = pathlib.Path(out_folder)
    ppo = yaml.safe_load(pathlib.Path(settings_file).read_text())["ppo"]
    curves = {}
    for name in NAMES:
        if (out / "runs" / name / "adapter").is_dir():
            curves[name] = curve(out / "runs" / name, ppo["batch_size"], float(ppo["missing_eos_penalty"] or 0))
    held_out = held_out_rows(out)
    write_csv(out / "curves.csv", [row for rows in curves.values() for row in rows])
    write_csv(out / "held_out.csv", held_out)
    (out / "table.md").write_text(table(curves, held_out, json.loads((out / "held_out/kl.json").read_text())))
    plot(curves, out / "beside_trl.png")
    print((out / "table.md").read_text())
    for program, result in json.loads((out / "held_out/rescored.json").read_text()).items():
        print(f"{program}: {result['answers']} answers scored again by leash, largest difference {result['largest_difference']:.2g}")


main(*sys.argv[1:])
