#!/usr/bin/env bash
# One run of leash: leash_run.sh RUN_DIR OUT [--set …]; LEASH, THREADS, as in run.
set -euo pipefail
run=$1 out=$2
shift 2
exec "${LEASH:-build/release/leash}" train experiments/beside_trl/ppo.yaml --run-dir "$run" --threads "${THREADS:-2}" \
  --set model.path="$out/start" --set "reward=[{kind: model, path: $out/reward}]" --set data.train="$out/prompts.train.jsonl" "$@"
