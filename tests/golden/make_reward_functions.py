"""Writes a part of reward_functions.json: what others say of the same answers.

    python tests/golden/make_reward_functions.py schema      # needs jsonschema (4.26)
    python tests/golden/make_reward_functions.py measures    # needs regex (2026.11) and numpy

schema: whether jsonschema's Draft202012Validator takes a value. measures: the part of a text's letters in scripts by the module
regex; 1 - different n-grams / n-grams counted in Python; running means and deviations, normalised and clipped totals and
correlations by numpy.
"""
import json
import sys
from pathlib import Path

FILE = Path(__file__).parent / "reward_functions.json"

SCHEMAS = [
    {"type": "object", "required": ["answer"], "properties": {"answer": {"type": "integer", "minimum": 0, "maximum": 99}},
     "additionalProperties": False},
    {"type": "object", "properties": {"name": {"type": "string", "minLength": 2, "maxLength": 4, "pattern": "^[a-zé]+$"},
                                      "tags": {"type": "array", "items": {"enum": ["a", "b", 1, None, {"x": [1, 2]}]}, "minItems": 1,
                                               "maxItems": 3}},
     "additionalProperties": {"type": ["number", "null"]}, "minProperties": 1, "maxProperties": 3},
    {"type": "array", "items": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}},
    {"const": {"a": 1, "b": [True]}},
    {"minLength": 3, "minimum": 5},
    {"type": "boolean"},
    {},
]
VALUES = [
    {"answer": 5}, {"answer": 5.0}, {"answer": 5.5}, {"answer": "5"}, {"answer": -1}, {"answer": 100}, {"answer": 5, "more": 1}, {},
    {"name": "ab"}, {"name": "a"}, {"name": "abcde"}, {"name": "AB"}, {"name": "éé"}, {"name": "ééééé"},
    {"tags": ["a", 1, None]}, {"tags": ["a", 1, None, "b"]}, {"tags": []}, {"tags": ["c"]}, {"tags": [{"x": [1, 2]}]},
    {"tags": [{"x": [2, 1]}]}, {"tags": [1.0]}, {"p": 1, "q": None, "r": 2.5}, {"p": 1, "q": 1, "r": 1, "s": 1}, {"p": "x"},
    [0.5, 0.25], [0, 0.5], [1], [], ["0.5"], {"b": [True], "a": 1}, {"a": 1, "b": [1]}, {"a": 1.0, "b": [True]}, {"a": 1},
    "ab", "abc", "日本語", 4, 5, 5.0, True, False, None, [True],
]

TEXTS = ["", "123 …", "Hello world", "Привет, мир", "Привет and hello", "日本語のテキスト。", "漢字かなカナ混じり", "مرحبا بالعالم", "Ωμέγα μ 12",
         "naïve café", "हिन्दी में", "ไทยภาษา", "עברית", "한국어 텍스트", "a\u0301 e\u0301", "ーー", "𐍈𐌰 goth"]
SCRIPTS = [["Latin"], ["Cyrillic"], ["Han", "Hiragana", "Katakana"], ["Arabic"], ["Greek"], ["Devanagari"], ["Thai"], ["Hebrew"],
           ["Hangul"], ["Latin", "Cyrillic"], ["Gothic"]]
UNITS = [[1, 2, 3], [1, 1, 1, 1, 1], [1, 2, 1, 2, 1, 2], [1, 2, 3, 1, 2, 3, 1, 2, 3, 4], [1], [], [5, 5]]


def schema():
    import jsonschema
    return [{"schema": s, "value": v, "fits": jsonschema.Draft202012Validator(s).is_valid(v)} for s in SCHEMAS for v in VALUES]


def script_share(text, scripts):
    import regex
    letters = regex.findall(r"\p{L}", text)
    inside = [c for c in letters if any(regex.fullmatch(rf"\p{{scx={s}}}", c) for s in scripts)]
    return len(inside) / len(letters) if letters else 0.0


def repetition(units, n):
    grams = [tuple(units[i:i + n]) for i in range(len(units) - n + 1)]
    return -(1 - len(set(grams)) / len(grams)) if grams else 0.0


def running():
    """Three batches of two sources: the first normalised and clipped to ±1.2 with weight 0.5, the second clipped to [-1, 4], weight 2."""
    import numpy as np
    rng = np.random.default_rng(3)
    batches, seen, totals, moments = [], [], [], []
    for step in range(3):
        batch = np.round(rng.normal(3 + step, 2, size=(5, 2)), 3)
        batches.append(batch.tolist())
        seen.extend(batch[:, 0].tolist())
        mean, deviation = np.mean(seen), np.std(seen, ddof=1)
        moments.append([len(seen), mean, deviation])
        totals.append((0.5 * np.clip((batch[:, 0] - mean) / deviation, -1.2, 1.2) + 2 * np.clip(batch[:, 1], -1, 4)).tolist())
    both = np.array(batches).reshape(-1, 2)
    return {"batches": batches, "totals": totals, "moments": moments, "correlation": np.corrcoef(both.T)[0, 1]}


def measures():
    return {"scripts": [{"text": t, "scripts": s, "share": script_share(t, s)} for t in TEXTS for s in SCRIPTS],
            "repetition": [{"units": u, "n": n, "score": repetition(u, n)} for u in UNITS for n in (1, 2, 3)],
            "running": running()}


if __name__ == "__main__":
    part = sys.argv[1]
    golden = json.loads(FILE.read_text()) if FILE.exists() else {}
    golden[part] = {"schema": schema, "measures": measures}[part]()
    FILE.write_text(json.dumps(golden, ensure_ascii=False, sort_keys=True) + "\n")
