#!/usr/bin/env python3
"""A simulated judge that labels through the same HTTP interface as a person.

    leash label … | head -1          (prints `NAME: ADDRESS`)
    python experiments/label/judge.py ADDRESS [--noise 0.1] [--seed 1] [--most N] [--finish]

The rule is that of experiments/chain/rule.py (0 to 3 points); of two answers with equal points the judge says tie. `--noise P` turns that
part of the preferences round, drawn by seed and pair. `--rounds FOLDER --every N` waits after every N judgements for the reward model of
`--next uncertain --retrain N`, as a person's reading gives it time. Prints what it said as JSON.
"""
import argparse
import hashlib
import json
import pathlib
import sys
import time
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "chain"))
import rule  # noqa: E402


class Client:
    def __init__(self, address):
        parts = urllib.parse.urlsplit(address)
        self.base = f"http://{parts.netloc}"
        self.token = urllib.parse.parse_qs(parts.query)["token"][0]

    def call(self, path, body=None):
        request = urllib.request.Request(self.base + path, None if body is None else json.dumps(body).encode(),
                                         {"Authorization": "Bearer " + self.token, "Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


def turned(seed, pair, noise):
    digest = hashlib.sha256(f"{seed} {pair}".encode()).digest()
    return int.from_bytes(digest[:8], "big") / 2**64 < noise


def verdict_of(pair, seed, noise):
    asked = [part["text"] for part in pair["prompt"] if part["role"] in ("user", None)][-1]
    left, right = rule.points(asked, pair["left"]), rule.points(asked, pair["right"])
    if left == right:
        return "tie"
    return "left" if (left > right) != turned(seed, pair["id"], noise) else "right"


def wait_for_round(folder, number):
    while not (pathlib.Path(folder) / f"round-{number}.ranked.json").exists():
        time.sleep(0.2)


def judge(address, seed=1, noise=0.0, most=None, finish=False, rounds=None, every=None):
    client, said = Client(address), {"left": 0, "right": 0, "tie": 0}
    view = client.call("/api/next")
    while most is None or sum(said.values()) < most:
        if view["offer"] == "waiting":
            time.sleep(0.05)
            view = client.call("/api/next")
            continue
        if view["offer"] != "pair":
            break
        verdict = verdict_of(view["pair"], seed, noise)
        view = client.call("/api/judge", {"pair": view["pair"]["id"], "verdict": verdict})
        said[verdict] += 1
        done = sum(said.values())
        if rounds and done % every == 0 and view["offer"] != "done" and done != most:
            wait_for_round(rounds, done // every)
            view = client.call("/api/next")
    if view["offer"] == "failed":
        raise RuntimeError(view["failure"])
    if finish:
        client.call("/api/finish", {})
    return said


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--noise", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--most", type=int)
    parser.add_argument("--finish", action="store_true")
    parser.add_argument("--rounds")
    parser.add_argument("--every", type=int)
    options = parser.parse_args()
    print(json.dumps(judge(**vars(options))))
