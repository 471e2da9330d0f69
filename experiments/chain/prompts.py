"""The prompts of the preference pairs, once each, as PPO reads them: prompts.py FOLDER"""
import json
import pathlib
import sys

out = pathlib.Path(sys.argv[1])
out.mkdir(parents=True, exist_ok=True)
data = pathlib.Path(__file__).parents[2] / "configs/recipes/data"
for part in ("train", "held_out"):
    prompts = [json.loads(line)["prompt"] for line in (data / f"preferences.{part}.jsonl").read_text().splitlines()]
    texts = dict.fromkeys(prompt[0]["content"] for prompt in prompts)
    lines = [json.dumps({"messages": [{"role": "user", "content": text}]}) + "\n" for text in texts]
    (out / f"prompts.{part}.jsonl").write_text("".join(lines))
