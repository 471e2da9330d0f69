"""The stated rule of configs/recipes/data/preferences (address what was asked, in a friendly tone, concisely) as three conditions
that a program can check; an answer has 0 to 3 points. It knows nothing of the reward model. Run alone, it says how often it prefers
the chosen answer of the shipped pairs: python experiments/chain/rule.py
"""
import json
import pathlib
import re

STOP = set("a about all am an and any are as at be been but by can could did do does for from get give good had has have how i if in "
           "into is it its just make many me more most much my need no not of on one or our out should so some than that the their "
           "them then there these they this to too up us use want was we what when where which who why will with without would you "
           "your suggest tell write say explain please way ways best".split())
FRIENDLY = re.compile(r"\b(you|your|yours|we|let's|let us|us|enjoy|hope|happy|glad|thank|thanks|welcome|dear|hi|lovely|please|nice|"
                      r"great|good luck|try|how about|together|smile|love)\b|!", re.IGNORECASE)


def words(text):
    return re.findall(r"[a-z']+", text.lower())


def stems(text):
    return {word[:5] for word in words(text) if word not in STOP and len(word) > 2}


def addresses(prompt, answer):
    return bool(stems(prompt) & stems(answer))


def friendly(answer):
    return len(words(answer)) >= 8 and bool(FRIENDLY.search(answer))


def concise(answer):
    return 8 <= len(words(answer)) <= 40


def points(prompt, answer):
    return addresses(prompt, answer) + friendly(answer) + concise(answer)


def main():
    data = pathlib.Path(__file__).parents[2] / "configs/recipes/data"
    for part in ("train", "held_out"):
        by_flaw = {}
        for line in (data / f"preferences.{part}.jsonl").read_text().splitlines():
            pair = json.loads(line)
            prompt = pair["prompt"][0]["content"]
            chosen, rejected = (points(prompt, pair[side][0]["content"]) for side in ("chosen", "rejected"))
            by_flaw.setdefault(pair["flaw"], []).append((chosen, rejected))
        for flaw, pairs in sorted(by_flaw.items()):
            wins = sum((c > r) + 0.5 * (c == r) for c, r in pairs)
            print(f"{part:9} {flaw:10} {len(pairs):4} pairs: prefers the chosen answer in {wins / len(pairs):.2f} (ties count half), "
                  f"points {sum(c for c, _ in pairs) / len(pairs):.2f} against {sum(r for _, r in pairs) / len(pairs):.2f}")


if __name__ == "__main__":
    main()
