"""Decoding and prefill in llama.cpp: llama_cpp.py LLAMA_BATCHED_BENCH MODEL.gguf SEQUENCES; the cases decode-N, prefill-Nx32.

Its program decodes 63 of 64 tokens after the first like leash_bench, but draws none of them: sampling is not part of its time.
"""
import argparse
import os
import re
import resource
import subprocess

from common import emit


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("model")
    parser.add_argument("sequences", type=int)
    parser.add_argument("--version", default="unknown", help="of llama.cpp, for the CSV")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    threads = str(args.threads)
    decode, prefill = [], []
    for _ in range(args.repeats):
        out = subprocess.run(
            [args.program, "-m", args.model, "-t", threads, "-tb", threads, "-npp", "32", "-ntg", "64", "-npl",
             str(args.sequences), "-c", "4096"], check=True, capture_output=True, text=True)
        row = next(line for line in out.stdout.splitlines() if re.match(r"\|\s+32 \|\s+64 \|", line))
        cells = [float(cell) for cell in row.strip("| \n").split("|")]
        prefill.append(cells[5])
        decode.append(cells[7])
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024 / 1e6
    weights = os.path.splitext(os.path.basename(args.model))[0]
    weights = next((dtype for suffix, dtype in {"bf16": "bf16", "f32": "fp32"}.items()
                    if weights.lower().endswith(suffix)), weights)
    emit("llama.cpp", args.version, args.threads, weights, peak, [
        (f"decode-{args.sequences}", sorted(decode)[len(decode) // 2], "tok/s"),
        (f"prefill-{args.sequences}x32", sorted(prefill)[len(prefill) // 2], "tok/s")])


main()
