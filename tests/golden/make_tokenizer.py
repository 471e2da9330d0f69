"""Goldens of the tokenizer, from two oracles: Hugging Face's tokenizers with the GGUF's own
pre-tokenizer restored, and llama.cpp. Where both speak, both must say the same.

Run: python tests/golden/make_tokenizer.py SmolLM2-135M-Instruct.Q4_1.gguf
(tokenizers 0.23.3, transformers 5.23, llama-cpp-python 0.3.36, gguf 0.19, Python 3.11: Unicode 14)
"""
import copy
import itertools
import json
import os
import random
import sys
import tempfile
import unicodedata

import gguf
import llama_cpp
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers.utils.chat_template_utils import render_jinja_template

from tokenizer_lines import make_lines

HERE = os.path.dirname(os.path.abspath(__file__))
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|"
          r"\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = LLAMA3.replace("{1,3}", "")


def fnv(ids):
    """64-bit FNV-1a over the ids as four little-endian bytes each."""
    h = 0xCBF29CE484222325
    for i in ids:
        for b in int(i).to_bytes(4, "little"):
            h = (h ^ b) * 0x100000001B3 % 2**64
    return f"{h:016x}"


def write_json(name, value):
    with open(os.path.join(HERE, name), "w", encoding="utf-8") as f:
        f.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def write_rows(name, rows):
    with open(os.path.join(HERE, name), "w", encoding="utf-8", newline="\n") as f:
        for row in rows:
            f.write(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n")


class LlamaCpp:
    def __init__(self, path):
        self.model = llama_cpp.Llama(path, vocab_only=True, verbose=False)

    def __call__(self, text):
        data = text.encode()
        return self.model.tokenize(data, add_bos=False, special=True) if data else []


def smollm2_oracle(path):
    reader = gguf.GGUFReader(path)
    field = lambda key: reader.fields["tokenizer.ggml." + key].contents()
    assert field("pre") == "smollm"
    tokens, types = field("tokens"), field("token_type")
    merges = [tuple(m.split(" ")) for m in field("merges")]
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(
        [AddedToken(t, special=True, normalized=False) for t, kind in zip(tokens, types) if kind == 3])
    template = reader.fields["tokenizer.chat_template"].contents()
    return tokenizer, template


def compare(lines, hf, cpp, what):
    wrong = [line for line in lines if hf(line) != cpp(line)]
    for line in wrong[:20]:
        print(f"{what}: the oracles differ on {line!r}\n  {hf(line)}\n  {cpp(line)}")
    print(f"{what}: {len(lines)} lines, the oracles differ on {len(wrong)}")
    assert not wrong


def make_smollm2(path, lines):
    tokenizer, template = smollm2_oracle(path)
    hf = lambda line: tokenizer.encode(line, add_special_tokens=False).ids
    compare(lines, hf, LlamaCpp(path), "SmolLM2")
    write_rows("tokenizer_lines.jsonl", lines)
    rows = []
    for i, line in enumerate(lines):
        ids = hf(line)
        rows.append(ids if i % (len(lines) // 200) == 0 else [fnv(ids), len(ids)])
    write_rows("tokenizer_ids.jsonl", rows)
    return template


def train_tiny(lines):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["<|end|>", "<|user|>"], show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    tokenizer.train_from_iterator(lines, trainer)
    return json.loads(tokenizer.to_str())


def split(pattern, behavior="Isolated", invert=False):
    kind = "Regex" if pattern.startswith("re:") else "String"
    return {"type": "Split", "pattern": {kind: pattern.removeprefix("re:")}, "behavior": behavior, "invert": invert}


def byte_level(**settings):
    return {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True, **settings}


def sequence(*steps):
    return {"type": "Sequence", "pretokenizers": list(steps)}


def token(id_, content, **flags):
    return {"id": id_, "content": content, "single_word": False, "lstrip": False, "rstrip": False,
            "normalized": False, "special": False, **flags}


def tiny_variants(tiny):
    """Merge patches (RFC 7386) of the tiny tokenizer.json, and lines of their own."""
    n = len(tiny["model"]["vocab"])
    plain = byte_level(use_regex=False)
    added = tiny["added_tokens"] + [
        token(n, "<left>", lstrip=True), token(n + 1, "<right>", rstrip=True),
        token(n + 2, "word", single_word=True), token(n + 3, "<|user|>!"), token(n + 4, "Ångström", normalized=True),
        token(n + 5, "<both>", lstrip=True, rstrip=True, special=True), token(n + 6, "é two", normalized=True)]
    template = {"type": "TemplateProcessing",
                "single": [{"SpecialToken": {"id": "<|user|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                           {"SpecialToken": {"id": "<|end|>", "type_id": 0}}],
                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 0}}],
                "special_tokens": {"<|user|>": {"id": "<|user|>", "ids": [1], "tokens": ["<|user|>"]},
                                   "<|end|>": {"id": "<|end|>", "ids": [0], "tokens": ["<|end|>"]}}}
    split_digits = {"type": "Digits", "individual_digits": False}
    drop = {c: None for c in "éçñ0123456789"}
    small = {t: None for t in tiny["model"]["vocab"] if any(c in drop or c in "Ãģ" for c in t)}
    kept = [m for m in tiny["model"]["merges"] if not any(t in small for t in (*m, "".join(m)))]
    for t in ("<|end|>", "<|user|>"):
        small.pop(t, None)
    spaces = ["a <left> b", "a  <left>\n<left>x", "a <right>  b<right>", " \u3000<both>\u2003\n<both> ", "word", "a word.",
              "words sword word_ -word- é word\u0301 word\u200d", "<|user|>!<|user|>?<|user|>", "x<right> <left>y",
              "A\u030angstro\u0308m \u212bngstr\u00f6m", "e\u0301 two é two e two", "<right> <both> <left>", "word word"]
    return [
        ("gpt2", {}, []),
        ("string merges", {"model": {"merges": [" ".join(m) for m in tiny["model"]["merges"]]}}, []),
        ("smollm", {"pre_tokenizer": sequence({"type": "Digits", "individual_digits": True}, byte_level())}, []),
        ("digit runs", {"pre_tokenizer": sequence(split_digits, byte_level())}, []),
        ("llama3", {"pre_tokenizer": sequence(split("re:" + LLAMA3), plain), "model": {"ignore_merges": True}}, []),
        ("qwen2", {"pre_tokenizer": sequence(split("re:" + QWEN2), plain), "normalizer": {"type": "NFC"}}, []),
        ("prefix space", {"pre_tokenizer": sequence(split_digits, byte_level(add_prefix_space=True))}, []),
        ("removed", {"pre_tokenizer": sequence(split(" ", "Removed"), byte_level())}, []),
        ("removed inverted", {"pre_tokenizer": sequence(split(r"re:\w+", "Removed", True), byte_level())}, []),
        ("merged with previous", {"pre_tokenizer": sequence(split("re:[\\s.,]", "MergedWithPrevious"), plain)}, []),
        ("merged with next", {"pre_tokenizer": sequence(split(r"re:[^\w\s]", "MergedWithNext"), plain)}, []),
        ("contiguous", {"pre_tokenizer": sequence(split(r"re:\W", "Contiguous"), plain)}, []),
        ("syntax", {"pre_tokenizer": sequence(
            split("re:(?i:é|ss)|[\\u0041-\\x{43}]+|^x|\\d{,2}\\p{Greek}|\\p{^L}(?<=\\v)|(?>a|ab)c|[^\\S\\n]+"), plain)},
         ["ÉclaiR STRASSE Straße", "x\nx\nABCD 12α 1β", "abc ac\x0bq", "\u180e\u200b a\u0085b"]),
        ("unknown token", {"pre_tokenizer": byte_level(), "model": {
            "unk_token": "<|end|>", "fuse_unk": True, "vocab": small, "merges": kept}}, ["12 é34 ñ5x"]),
        ("unknown tokens", {"pre_tokenizer": byte_level(), "model": {
            "unk_token": "<|end|>", "fuse_unk": False, "vocab": small, "merges": kept}}, ["12 é34 ñ5x"]),
        ("added tokens", {"added_tokens": added, "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}]}},
         spaces),
        ("template", {"post_processor": {"type": "Sequence", "processors": [byte_level(), template]}}, []),
    ]


def merge_patch(target, patch):
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        else:
            target[key] = merge_patch(target.get(key), value)
    return target


def make_tiny(lines):
    tiny = train_tiny(lines)
    os.makedirs(os.path.join(HERE, "tiny_tokenizer"), exist_ok=True)
    write_json("tiny_tokenizer/tokenizer.json", tiny)
    cases = []
    for name, patch, own in tiny_variants(tiny):
        tokenizer = Tokenizer.from_str(json.dumps(merge_patch(copy.deepcopy(tiny), patch)))
        texts = lines[:: len(lines) // 120] + own
        ids = [tokenizer.encode(t).ids for t in texts]
        case = {"name": name, "patch": patch, "every": len(lines) // 120, "own": own,
                "hashes": [fnv(i) for i in ids], "own_ids": ids[len(ids) - len(own):]}
        cases.append(case)
    write_rows("tiny_tokenizer/variants.jsonl", cases)
    make_tiny_gguf(tiny, lines)


def make_tiny_gguf(tiny, lines):
    """The same vocabulary in GGUF files of every pre-tokenizer that is known by name."""
    by_id = sorted(tiny["model"]["vocab"], key=tiny["model"]["vocab"].get)
    hf = {"smollm": sequence({"type": "Digits", "individual_digits": True}, byte_level()), "gpt-2": byte_level(),
          "llama-bpe": sequence(split("re:" + LLAMA3), byte_level(use_regex=False)),
          "qwen2": sequence(split("re:" + QWEN2), byte_level(use_regex=False)), "default": None}
    result = {}
    for pre, steps in hf.items():
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "tiny.gguf")
            writer = gguf.GGUFWriter(path, "llama")
            writer.add_tokenizer_model("gpt2")
            writer.add_tokenizer_pre(pre)
            writer.add_token_list(by_id)
            writer.add_token_types([3 if t in ("<|end|>", "<|user|>") else 1 for t in by_id])
            writer.add_token_merges([" ".join(m) for m in tiny["model"]["merges"]])
            writer.add_eos_token_id(0)
            for key in ("context_length", "embedding_length", "block_count", "feed_forward_length"):
                writer.add_uint32("llama." + key, 32)
            writer.write_header_to_file()
            writer.write_kv_data_to_file()
            writer.write_tensors_to_file()
            writer.close()
            cpp = LlamaCpp(path)
        # llama.cpp does not normalise, and the oracles then agree on what is in form C already.
        texts = [t for t in lines if pre != "qwen2" or unicodedata.is_normalized("NFC", t)]
        if steps is not None:
            patch = {"pre_tokenizer": steps, "model": {"ignore_merges": pre == "llama-bpe"}}
            tokenizer = Tokenizer.from_str(json.dumps(merge_patch(copy.deepcopy(tiny), patch)))
            compare(texts, lambda t: tokenizer.encode(t).ids, cpp, pre)
        result[pre] = fnv(itertools.chain.from_iterable([len(i), *i] for i in map(cpp, texts)))
        every = len(lines) // 300
        result[pre + " lines"] = [fnv(cpp(t)) for t in texts[::every]]
        result["every"] = every
    write_json("tiny_tokenizer/gguf.json", result)


def make_templates(smollm2):
    chatml = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + "
              "'<|im_end|>' + '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}")
    defined = "{% if not add_generation_prompt is defined %}{% set add_generation_prompt = false %}{% endif %}"
    templates = {
        "smollm2": smollm2, "chatml": chatml, "chatml defined": defined + chatml,
        "chatml spaced": chatml.replace("{{'<|im_start|>'", "{{ '<|im_start|>'").replace("'\n'}}", "'\n' }}"),
        "chatml joined": chatml.replace("'<|im_end|>' + '\n'", "'<|im_end|>\n'"),
        "chatml escaped": chatml.replace("\n", "\\n"), "chatml with a line's end": chatml + "\n",
        "qwen2": chatml.replace("{% for message in messages %}", "{% for message in messages %}{% if loop.first and "
                                "messages[0]['role'] != 'system' %}{{ '<|im_start|>system\nYou are a helpful "
                                "assistant.<|im_end|>\n' }}{% endif %}")}
    user, answer = {"role": "user", "content": " Hi\n there {{ x }} \n"}, {"role": "assistant", "content": "Yes.\\n"}
    system = {"role": "system", "content": "Be brief."}
    chats = [[user], [user, answer], [user, answer, user], [system, user], [system], [answer], [user, system, user],
             [system, {"role": "user", "content": ""}, answer, {"role": "user", "content": "<|im_end|>"}]]
    cases = []
    for name, template in templates.items():
        for chat, prompt in itertools.product(chats, (False, True)):
            rendered, _ = render_jinja_template([chat], chat_template=template, add_generation_prompt=prompt)
            cases.append({"template": name, "messages": chat, "prompt": prompt, "text": rendered[0]})
    write_json("chat_templates.json", {"templates": templates, "cases": cases})


def make_utf8():
    """Python's replacement of invalid UTF-8 for all sequences of bytes at which something changes."""
    edges = [0x00, 0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE,
             0xEF, 0xF0, 0xF1, 0xF3, 0xF4, 0xF5, 0xFF]
    hashes = []
    for n in range(1, 5):
        replaced = (bytes(s).decode(errors="replace").encode() for s in itertools.product(edges, repeat=n))
        hashes.append(fnv(itertools.chain.from_iterable([len(r), *r] for r in replaced)))
    write_json("utf8_replace.json", {"edges": edges, "hashes_by_length": hashes})


def main():
    random.seed(0)
    lines = make_lines(random.Random(20240611))
    template = make_smollm2(sys.argv[1], lines)
    make_tiny(lines)
    make_templates(template)
    make_utf8()


main()
