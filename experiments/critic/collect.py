"""metrics.jsonl of the study's runs as one CSV: collect.py FOLDER"""
import json
import pathlib
import sys

COLUMNS = {
    "objective/scores": "reward", "objective/kl": "kl", "val/explained_variance": "explained_variance",
    "loss/value_avg": "value_loss", "eval/sampled/reward": "held_out_reward", "eval/sampled/kl": "held_out_kl",
    "perf/seconds": "seconds", "perf/seconds_update": "seconds_update", "perf/peak_memory_mb": "peak_mb",
}

print("critic,seed,step," + ",".join(COLUMNS.values()))
for run in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    critic, seed = run.name.rsplit("-seed", 1)
    for line in (run / "metrics.jsonl").read_text().splitlines():
        metrics = json.loads(line)
        values = [f"{metrics[name]:.5g}" if name in metrics else "" for name in COLUMNS]
        print(f"{critic},{seed},{metrics['step']},{','.join(values)}")
