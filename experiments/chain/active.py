"""Held-out accuracy over the number of judgements, in order and by doubt: python experiments/chain/active.py FOLDER"""
import csv
import json
import pathlib
import re
import sys

out = pathlib.Path(sys.argv[1])
rows = []
for metrics in sorted(out.glob("seed*/*-*/metrics.jsonl")):
    how, judged = re.fullmatch(r"(order|uncertain)-(\d+)", metrics.parent.name).groups()
    evaluations = [line for line in map(json.loads, metrics.read_text().splitlines()) if "eval/accuracy" in line]
    last = evaluations[-1]
    rows.append({"seed": metrics.parent.parent.name[4:], "next": how, "judgements": int(judged), "accuracy": last["eval/accuracy"],
                 "low": last["eval/accuracy_low"], "high": last["eval/accuracy_high"], "before": evaluations[0]["eval/accuracy"]})
rows.sort(key=lambda row: (row["seed"], row["judgements"], row["next"]))
with open(out / "active.csv", "w", newline="") as file:
    writer = csv.DictWriter(file, rows[0])
    writer.writeheader()
    writer.writerows({key: f"{value:.4g}" if isinstance(value, float) else value for key, value in row.items()} for row in rows)
for row in rows:
    print(f"seed {row['seed']}  {row['judgements']:4} judgements  {row['next']:9}  {row['accuracy']:.3f} [{row['low']:.3f}, {row['high']:.3f}]")
