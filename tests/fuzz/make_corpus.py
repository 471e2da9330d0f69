#!/usr/bin/env python3
"""Writes tests/fuzz/corpus/TARGET/*: small valid files for the fuzz targets to begin with. Inputs that were found (found-*) stay.

An input that stands for several files has a zero byte between each and the next, as the target says at its top.
"""
import json
import pathlib
import re
import struct

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
GOLDEN = ROOT / "tests" / "golden"


def put(target, name, *files):
    folder = HERE / "corpus" / target
    folder.mkdir(parents=True, exist_ok=True)
    parts = [part if isinstance(part, bytes) else part.encode() for part in files]
    (folder / name).write_bytes(b"\0".join(parts))


def compact(value):
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# ---- tensors

SIZES = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "I16": 2, "I8": 1, "U8": 1, "BOOL": 1}


def product(shape):
    total = 1
    for size in shape:
        total *= size
    return total


def safetensors(tensors, metadata=None):
    """tensors: name -> (dtype, shape[, bytes])."""
    header, data = ({"__metadata__": metadata} if metadata else {}), b""
    for name, (dtype, shape, *own) in tensors.items():
        content = own[0] if own else bytes(product(shape) * SIZES[dtype])
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(content)]}
        data += content
    text = compact(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def make_safetensors():
    put("safetensors", "types", safetensors({f"t.{dtype}": (dtype, [2, 1]) for dtype in SIZES}))
    put("safetensors", "metadata", safetensors({"a": ("F32", [3])}, {"format": "pt", "more": "text"}))
    put("safetensors", "shapes", safetensors({"scalar": ("F32", []), "empty": ("F32", [0, 4]), "x": ("BF16", [1, 2, 3])}))
    put("safetensors", "unknown", safetensors({"f8": ("F8_E4M3", [4], b"1234"), "x": ("U8", [1])}))
    put("safetensors", "golden", (GOLDEN / "dtypes.safetensors").read_bytes())
    put("shard_index", "index", compact({"metadata": {"total_size": 24}, "weight_map":
                                         {"x": "a.safetensors", "y": "a.safetensors", "z": "b.safetensors"}}))


# ---- what people say of pairs

def make_labels():
    pairs = [{"pair": "5fa3406575819687", "prompt": "What is 2+2?", "answers": [
                 {"content": "Five.   Three   spaces"}, {"content": "It is <b>4</b>.\n\n\tTab & <script>alert(1)</script>"}]},
             {"pair": "5c037353d48446e8", "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Name a fruit."}],
              "answers": [{"content": [{"role": "assistant", "content": "A carrot \u001b[31mred"}]},
                          {"content": [{"role": "assistant", "content": "Apple"}]}]}]
    lines = "".join(json.dumps(pair, separators=(",", ":"), ensure_ascii=False) + "\n" for pair in pairs)
    judge = {"event": "judge", "user": "anna", "pair": pairs[0]["pair"], "verdict": "left", "left": 1, "comment": "c", "time": "2026-12-01T03:00:00.000Z"}
    other = dict(judge, pair=pairs[1]["pair"], verdict="both_bad", left=0)
    undo = {"event": "undo", "user": "anna", "pair": other["pair"], "time": "2026-12-01T03:00:01.000Z"}
    log = "".join(compact(event) + "\n" for event in (judge, other, undo, dict(other, verdict="tie"), dict(judge, user="ben", verdict="skip")))
    row = {"prompt": "What is 2+2?", "chosen": pairs[0]["answers"][0]["content"], "rejected": pairs[0]["answers"][1]["content"], "tie": True,
           "judgement": {"user": "anna", "time": "2026-12-01T03:25:08.576Z", "comment": "c", "pair": pairs[0]["pair"], "chosen_shown": "left",
                         "chosen_source": {"adapter": "base", "stop": "eos"}}}
    given = {"prompt": "p", "answers": ["a", "b", "c"]}
    put("labels", "body", compact({"pair": pairs[0]["pair"], "verdict": "tie", "comment": "x"}), lines, log, compact(row) + "\n", compact(given) + "\n")
    put("labels", "undo", compact({"pair": pairs[0]["pair"]}), lines, log, "", compact({"prompt": "p", "chosen": "a", "rejected": "b"}))
    put("labels", "torn", "{}", lines, log[:-20], compact(row), "")


# ---- tokenizers

def byte_alphabet():
    printable = [b for b in range(256) if 33 <= b <= 126 or 161 <= b <= 172 or b >= 174]
    others = (chr(256 + i) for i in range(68))
    return [chr(b) if b in printable else next(others) for b in range(256)]


SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = [("h", "e"), ("l", "l"), ("he", "ll"), ("Ġ", "t"), ("Ã", "¼"), ("1", "2")]
TOKENS = SPECIAL + byte_alphabet() + [left + right for left, right in MERGES]
CHATML = ("{% for message in messages %}{{'<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>' + '\\n'}}"
          "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}")
QWEN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")


def tokenizer(**changes):
    added = [{"id": i, "content": token, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
              "special": True} for i, token in enumerate(SPECIAL)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {"version": "1.0", "added_tokens": added, "normalizer": None, "pre_tokenizer": byte_level, "post_processor": None,
            "decoder": byte_level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "fuse_unk": False, "ignore_merges": False,
                      "merges": [f"{left} {right}" for left, right in MERGES],
                      "vocab": {token: i for i, token in enumerate(TOKENS)}}, **changes}


def make_tokenizers():
    config = compact({"eos_token": "<|im_end|>", "bos_token": {"content": "<|im_start|>"}, "chat_template": CHATML,
                      "add_bos_token": False})
    plain = tokenizer()
    put("tokenizer", "plain", compact(plain), config, compact({"pad_token": "<|endoftext|>"}))
    no_regex = {"type": "ByteLevel", "add_prefix_space": False, "use_regex": False}
    steps = [{"type": "Digits", "individual_digits": True},
             {"type": "Split", "pattern": {"Regex": QWEN}, "behavior": "Isolated", "invert": False},
             {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithNext", "invert": False}, no_regex]
    template = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|im_start|>", "type_id": 0}},
                                                         {"Sequence": {"id": "A", "type_id": 0}}],
                "special_tokens": {"<|im_start|>": {"id": "<|im_start|>", "ids": [1], "tokens": ["<|im_start|>"]}}}
    added = plain["added_tokens"] + [{"id": len(TOKENS), "content": "you", "single_word": True, "lstrip": True, "rstrip": True,
                                      "normalized": True, "special": False}]
    put("tokenizer", "steps", compact(tokenizer(
        normalizer={"type": "Sequence", "normalizers": [{"type": "NFC"}]}, added_tokens=added,
        pre_tokenizer={"type": "Sequence", "pretokenizers": steps},
        post_processor={"type": "Sequence", "processors": [{"type": "ByteLevel"}, template]},
        model={**plain["model"], "ignore_merges": True, "merges": [list(pair) for pair in MERGES]})),
        compact({"added_tokens_decoder": {"300": {"content": "<x>", "special": True}},
                 "chat_template": [{"name": "default", "template": CHATML}]}))

    scored = [["<unk>", 0], ["\u2581", -2], ["\u2581the", -3], ["a", -4.5], ["b", -5], ["<0xFF>", 0]]
    put("tokenizer", "unigram", compact(tokenizer(
        added_tokens=[], model={"type": "Unigram", "unk_id": 0, "vocab": scored, "byte_fallback": True},
        normalizer={"type": "Sequence", "normalizers": [{"type": "NFKC"}, {"type": "Nmt"}, {"type": "StripAccents"}, {"type": "Lowercase"},
                    {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}, {"type": "Strip", "strip_left": True}]},
        pre_tokenizer={"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "\u2581"}]},
        decoder={"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first"})))
    metaspace = {"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "first", "split": False}
    fused = [{"type": "Replace", "pattern": {"String": "\u2581"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
             {"type": "Strip", "content": " ", "start": 1, "stop": 1}]
    put("tokenizer", "fallback", compact(tokenizer(
        added_tokens=[], normalizer={"type": "Prepend", "prepend": "\u2581"}, pre_tokenizer=metaspace,
        decoder={"type": "Sequence", "decoders": fused},
        model={"type": "BPE", "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True, "merges": [["a", "b"]],
               "vocab": {t: i for i, t in enumerate(["<unk>", "a", "b", "ab", "\u2581", "<0xC3>", "<0xBC>"])}})))
    bert = {"type": "BertProcessing", "sep": ["[SEP]", 2], "cls": ["[CLS]", 1]}
    put("tokenizer", "word_piece", compact(tokenizer(
        added_tokens=[], normalizer={"type": "BertNormalizer"}, pre_tokenizer={"type": "BertPreTokenizer"}, post_processor=bert,
        decoder={"type": "WordPiece", "prefix": "##", "cleanup": True},
        model={"type": "WordPiece", "unk_token": "[UNK]", "vocab": {t: i for i, t in enumerate(
            ["[UNK]", "[CLS]", "[SEP]", "it", "##'", "s", "don", "##t", "1", "##2"])}})))
    for name in ("sp_unigram", "sp_bpe"):
        put("sentence_piece", name, (GOLDEN / "tokenizers" / name / "tokenizer.model").read_bytes())


# ---- GGUF

def gguf_text(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def gguf_value(value):
    if isinstance(value, bool):
        return struct.pack("<IB", 7, value)
    if isinstance(value, int):
        return struct.pack("<Ii", 5, value) if value < 0 else struct.pack("<II", 4, value)
    if isinstance(value, float):
        return struct.pack("<If", 6, value)
    if isinstance(value, str):
        return struct.pack("<I", 8) + gguf_text(value)
    elements = [gguf_value(entry) for entry in value]
    return struct.pack("<I", 9) + elements[0][:4] + struct.pack("<Q", len(elements)) + b"".join(e[4:] for e in elements)


# ggml's number, values and bytes of a block.
F32, Q4_0, Q8_0, Q6_K, Q4_K = (0, 1, 4), (2, 32, 18), (8, 32, 34), (14, 256, 210), (12, 256, 144)


def gguf(metadata, tensors, version=3):
    """tensors: name -> (type, dimensions in the file's order)."""
    head = b"GGUF" + struct.pack("<IQQ", version, len(tensors), len(metadata))
    for key, value in metadata.items():
        head += gguf_text(key) + gguf_value(value)
    data = b""
    for name, (kind, dimensions) in tensors.items():
        data += bytes(-len(data) % 32)
        head += gguf_text(name) + struct.pack("<I", len(dimensions)) + b"".join(struct.pack("<Q", d) for d in dimensions)
        head += struct.pack("<IQ", kind[0], len(data))
        data += bytes(product(dimensions) // kind[1] * kind[2])
    return head + bytes(-len(head) % 32) + data


def make_gguf():
    facts = {"general.architecture": "llama", "llama.vocab_size": 32, "llama.context_length": 64, "llama.embedding_length": 32,
             "llama.block_count": 1, "llama.feed_forward_length": 32, "llama.attention.head_count": 2,
             "llama.attention.head_count_kv": 1, "llama.attention.layer_norm_rms_epsilon": 1e-5, "llama.rope.freq_base": 1e4,
             "llama.rope.dimension_count": 16}
    tensors = {"token_embd.weight": (Q8_0, [32, 32]), "output_norm.weight": (F32, [32]), "blk.0.attn_q.weight": (Q4_0, [32, 32]),
               "blk.0.attn_k.weight": (Q4_0, [32, 16]), "blk.0.attn_v.weight": (Q4_0, [32, 16]), "rope_freqs.weight": (F32, [8])}
    put("gguf", "model", gguf(facts, tensors))
    kinds = {"type": [7, -7], "a": True, "b": -3, "c": 0.5, "strings": ["x", ""], "floats": [0.5], "general.alignment": 32,
             "deep": [[1, 2], [3]]}
    put("gguf", "values", gguf(kinds, {"m": (Q6_K, [256]), "k": (Q4_K, [256]), "s": (F32, [])}, version=2))
    words = {"tokenizer.ggml.model": "gpt2", "tokenizer.ggml.pre": "smollm", "tokenizer.ggml.tokens": TOKENS,
             "tokenizer.ggml.token_type": [3] * 3 + [1] * (len(TOKENS) - 3),
             "tokenizer.ggml.merges": [f"{left} {right}" for left, right in MERGES], "tokenizer.ggml.bos_token_id": 1,
             "tokenizer.ggml.eos_token_id": 2, "tokenizer.ggml.add_bos_token": True, "tokenizer.chat_template": CHATML}
    put("gguf", "tokenizer", gguf(words, {}))
    for name in ("gguf_llama", "gguf_t5"):
        put("gguf", name, (GOLDEN / "tokenizers" / name / "tiny.gguf").read_bytes())


# ---- configurations

def make_configs():
    for variant in json.loads((GOLDEN / "config_variants.json").read_text()):
        name = re.sub(r"\W+", "-", variant["name"])
        put("config", name, compact(variant["config"]))
    families = {row["name"].split(":")[0]: row["config"] for row in json.loads((GOLDEN / "family_configs.json").read_text())}
    for name, config in families.items():  # the last of each, which says most
        put("config", "family-" + name, compact(config))
    seeing = {"model_type": "gemma3", "text_config": families["gemma3_text"], "vision_config": {}, "eos_token_id": [1, 7]}
    put("config", "family-gemma3", compact(seeing))
    labels = {"architectures": ["Qwen2ForSequenceClassification"], "model_type": "qwen2", "vocab_size": 16, "hidden_size": 8,
              "intermediate_size": 12, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 32,
              "rms_norm_eps": 1e-6, "num_labels": 2, "id2label": {"0": "no", "1": "yes"}, "sliding_window": 16,
              "use_sliding_window": False, "pad_token_id": 0}
    put("config", "classes", compact(labels), compact({"eos_token_id": [2, 3], "bos_token_id": 1, "pad_token_id": 0}))


def lora_tensors(module, inputs, outputs, r):
    prefix = f"base_model.model.model.layers.0.{module}"
    return {f"{prefix}.lora_A.weight": ("F32", [r, inputs]), f"{prefix}.lora_B.weight": ("F32", [outputs, r])}


def make_adapters():
    base = {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 2, "lora_alpha": 4, "lora_dropout": 0.0, "bias": "none",
            "target_modules": ["q_proj"], "use_rslora": False, "modules_to_save": None, "rank_pattern": {}, "alpha_pattern": {},
            "layers_to_transform": None, "init_lora_weights": True, "base_model_name_or_path": "tiny", "inference_mode": True}
    q = lora_tensors("self_attn.q_proj", 8, 8, 2)
    put("adapter", "plain", compact(base), "", "", safetensors(q, {"format": "pt"}))
    score = {**base, "task_type": "SEQ_CLS", "target_modules": r".*\.(q|down)_proj", "rank_pattern": {"down_proj": 1},
             "alpha_pattern": {r"layers\.0\.mlp": 3.5}, "modules_to_save": ["score"], "layers_to_transform": [0]}
    put("adapter", "score", compact(score), compact({"id2label": {"0": "no", "1": "yes"}, "label2id": {"no": 0, "yes": 1}}),
        compact({"max_length": 64, "truncation_mode": "keep_start"}),
        safetensors({**q, **lora_tensors("mlp.down_proj", 12, 8, 1), "base_model.model.score.weight": ("F32", [1, 8])}))
    biases = {**base, "bias": "lora_only", "use_rslora": True, "exclude_modules": ["k_proj"]}
    bias = "base_model.model.model.layers.0.self_attn.q_proj.base_layer.bias"
    put("adapter", "biases", compact(biases), "", "", safetensors({**q, bias: ("BF16", [8])}))


# ---- data

LINES = {
    "prompts": [{"prompt": "alpha"}, {"prompt": "be", "more": 1}, {"messages": [{"role": "user", "content": "Hi"}]}],
    "samples": [{"text": "one two"}, {"prompt": "a ", "completion": "b"},
                {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "u"},
                              {"role": "assistant", "content": "a"}]},
                {"prompt": [{"role": "user", "content": "u"}], "completion": [{"role": "assistant", "content": "a"}]}],
    "pairs": [{"prompt": "p ", "chosen": "yes", "rejected": "no", "margin": 0.5}, {"chosen": "a\nb", "rejected": "a\nc"},
              {"chosen": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}],
               "rejected": [{"role": "user", "content": "u"}, {"role": "assistant", "content": "é"}]}],
    "labelled": [{"text": "good", "label": "yes"}, {"text": "bad", "label": "no"},
                 {"messages": [{"role": "user", "content": "so"}], "label": "no"}, {"text": "more", "label": "yes"}],
    "numbered": [{"text": "good", "label": 1}, {"text": "bad", "label": 0}, {"text": "x", "label": 1}],
}


def make_data():
    for name, records in LINES.items():
        put("jsonl", name, "".join(compact(record) + "\n" for record in records))
    put("jsonl", "bom", "\ufeff\r\n" + compact({"prompt": "\U0001f600"}) + "\r\n")
    put("scores", "lines", "1\n-0.5\n 1e-3 \r\n")
    put("scores", "one", "3.25")
    put("scores", "persistent", '{"score": 0.5, "index": 0}\n{"score": -1}\n{"index": 2, "score": 3e2}\n')
    put("scores", "complaint", '{"error": "no \\u00e9", "score": null}')
    put("scores", "http", '{"scores": [1, 0.5, -2e1], "model": "x"}')
    put("scores", "list", "[0.25]")
    metrics = [{"step": 0, "eval/reward": 1.5}, {"step": 1, "objective/kl": None, "loss": -0.0}]
    put("run_records", "metrics", "".join(compact(line) + "\n" for line in metrics))
    sample = {"step": 0, "index": 1, "decoding": "greedy", "prompt": "p", "answer": "é", "score": 1.5, "kl": None, "stop": "eos"}
    event = b"\x09" + bytes(8) + b"\x10\x02" + b"\x2a\x08\x0a\x06\x0a\x01x\x15" + bytes(4)  # of step 2, with a scalar
    put("run_records", "event", event)
    put("run_records", "samples", compact(sample) + "\n" + compact({**sample, "step": 5}) + "\n")


# ---- recipes

def make_recipes():
    for recipe in sorted((ROOT / "configs" / "recipes").glob("*.yaml")):
        lines = [line for line in recipe.read_text().splitlines(True) if not line.startswith("#")]
        put("recipe", recipe.stem, "".join(lines))
    everything = (ROOT / "tests" / "configs" / "resolved_test.cpp").read_text()
    put("recipe", "everything", re.search(r'kEverything = R"\((.*?)\)";', everything, re.DOTALL).group(1))
    put("recipe", "command", "task: ppo\ndata: {train: p.jsonl}\nreward:\n  - kind: command\n    command: \"./score --fast\"\n"
                             "    weight: 2\n  - {kind: adapter, path: runs/reward/adapter}\n")
    put("recipe", "sft", "task: sft\nmodel: {path: ../m}\nlora: {path: a}\ndata: {train: d.jsonl, eval_split: 0.1}\n"
                         "sft: {max_steps: 5, optim: paged_adamw_8bit, lr_scheduler_type: cosine}\n")
    put("recipe", "block", "# comment\ntask: reward\ndata:\n  train: 'it''s.jsonl'\nlora:\n  target_modules:\n    - q_proj\n"
                           "    - v_proj\nrun:\n  seed: 0x10\n  output_dir: >-\n    a\n    b\n")


# ---- snapshots

def make_snapshots():
    environment = {"base": "base", "quantize": "none", "others": {}, "data": {"train": "data"}, "dtype": "Float",
                   "threads": 1, "cpu_capability": "AVX2", "build": "2.11.0"}
    parameters = {0: [2, 8], 1: [8, 2]}
    adamw, small, factored = {}, {}, {}
    for i, shape in parameters.items():
        step = {f"{i}.step": ("I64", [], struct.pack("<q", 2))}
        adamw.update({f"{i}.exp_avg": ("F32", shape), f"{i}.exp_avg_sq": ("F32", shape), **step})
        factored.update({f"{i}.exp_avg_sq_row": ("F32", shape[:1]), f"{i}.exp_avg_sq_col": ("F32", shape[1:]), **step})
    supervised = {"step": 2, "best_step": 1, "best_loss": 0.5, "evaluations_without_gain": 0, "environment": environment}
    put("snapshot", "adamw", compact(supervised), safetensors(adamw))
    scaled = {**supervised, "best_step": None, "skipped_steps": 1, "grad_scaler": {"scale": 65536.0, "growth_tracker": 1}}
    put("snapshot", "adafactor", compact(scaled), safetensors(factored))
    put("snapshot", "sgd", compact(supervised), safetensors(small))
    policy = {"step": 2, "prompts_consumed": 16, "kl_coef": 0.05, "best_step": 2, "best_reward": 1.5, "environment": environment}
    put("snapshot", "policy", compact(policy), safetensors({f"policy.{name}": tensor for name, tensor in adamw.items()}))
    files = {"more/x": {"bytes": 9, "crc32c": "e3069283"}, "state.json": {"bytes": 3, "crc32c": crc32c(b"{}\n")}}
    put("manifest", "whole", json.dumps({"step": 3, "files": files}, indent=1) + "\n")
    put("manifest", "short", compact({"step": 3, "files": {"state.json": {"bytes": 4, "crc32c": "00000000"}}}))


def make_requests():
    put("requests", "completion", compact({"model": "m", "prompt": "Hi", "max_tokens": 3, "temperature": 0.5, "top_p": 0.9, "n": 2,
                                           "stop": ["a", "b"], "seed": 4, "logprobs": 1, "echo": True, "stream": True,
                                           "stream_options": {"include_usage": True}, "logit_bias": {}, "best_of": 2}))
    put("requests", "ids", compact({"prompt": [[1, 2], [3]], "max_tokens": 0, "top_k": -1, "min_p": 0.1, "ignore_eos": True,
                                    "repetition_penalty": 1.1, "presence_penalty": 0, "suffix": None, "user": "u"}))
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    put("requests", "chat", compact({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": [
        {"type": "text", "text": "t"}]}, {"role": "assistant", "tool_calls": []}], "tools": [tool], "tool_choice": "auto",
        "max_completion_tokens": 5, "logprobs": True, "top_logprobs": 2, "response_format": {"type": "text"},
        "chat_template_kwargs": {"enable_thinking": False}}))


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
    return f"{value ^ 0xFFFFFFFF:08x}"


if __name__ == "__main__":
    for make in (make_safetensors, make_tokenizers, make_gguf, make_configs, make_adapters, make_data, make_recipes,
                 make_snapshots, make_requests):
        make()
    make_labels()
