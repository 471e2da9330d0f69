"""Reads a run's folder with TensorBoard's own reader and compares it with metrics.jsonl.

Run by the suite Peers of cli_test, or by hand:

    python tests/golden/check_tensorboard.py RUN_DIR

The exit code is 1 when they differ.
"""
import json
import math
import struct
import sys

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator


def as_float32(value):
    return math.nan if value is None else struct.unpack("f", struct.pack("f", value))[0]


def main(run_dir):
    accumulator = EventAccumulator(run_dir, size_guidance={"tensors": 0, "scalars": 0})
    accumulator.Reload()
    found = {}
    for tag in accumulator.Tags()["scalars"]:
        for event in accumulator.Scalars(tag):
            found[event.step, tag] = event.value
    for tag in accumulator.Tags()["tensors"]:
        for event in accumulator.Tensors(tag):
            found[event.step, tag] = event.tensor_proto.float_val[0]
    expected = {}
    with open(f"{run_dir}/metrics.jsonl", encoding="utf-8") as file:
        for line in file:
            row = json.loads(line)
            for name, value in row.items():
                if name != "step":
                    expected[row["step"], name] = as_float32(value)
    missing = sorted(expected.keys() ^ found.keys())
    wrong = [
        key
        for key in expected.keys() & found.keys()
        if expected[key] != found[key] and not (math.isnan(expected[key]) and math.isnan(found[key]))
    ]
    print(f"{len(found)} scalars in events, {len(expected)} in metrics.jsonl")
    print(f"only in one of them: {missing[:5]}; different: {wrong[:5]}")
    return 1 if missing or wrong or not found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
