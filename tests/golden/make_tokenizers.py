"""Small tokenizers of every kind that leash reads, with ids and texts from Hugging Face's tokenizers and from SentencePiece:
tests/golden/tokenizers. pre_tokenizers.json beside them holds the expressions behind llama.cpp's names (llama-vocab.cpp; where it
quotes the published tokenizer.json, that one).

Run: python tests/golden/make_tokenizers.py      (tokenizers 0.23.3, sentencepiece 0.2.3, transformers 5.23, gguf 0.19)
"""
import base64
import io
import json
import os
import random
import tempfile
import unicodedata

import gguf
import sentencepiece
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from tokenizers import Regex
from transformers.utils import sentencepiece_model_pb2_new as model_pb2

from tokenizer_lines import PHRASES, make_lines, unescape

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "tokenizers")
SPACE = "\u2581"
TEXT = [unescape(p) for p in PHRASES]
LATIN = [t for t in TEXT if all(ord(c) < 0x180 for c in t)]
BYTES = [f"<0x{b:02X}>" for b in range(256)]
# A few rules of each kind: folded, removed, made longer, a sequence, spaces.
RULES = [("\u2581", " "), ("\t", " "), ("\n", " "), ("\r", " "), ("\u00a0", " "), ("\u200b", ""), ("\ufb01", "fi"), ("\u00bd", "1/2"),
         ("\u0130", "i\u0307"), ("A", "a"), ("e\u0301", "\u00e9"), ("\uff21", "A"), ("\u2026", "...")]


def fnv(numbers):
    h = 0xCBF29CE484222325
    for i in numbers:
        for b in int(i).to_bytes(4, "little"):
            h = (h ^ b) * 0x100000001B3 % 2**64
    return f"{h:016x}"


def texts():
    lines = make_lines(random.Random(20240611))
    own = ["", " ", "<s>x</s>", " <s> x", "a <new>b", "x<new>", " <new> ", "a<word>", "a <word> b", "<norm>", "A<norm> b", "\n\n\n",
           "\u2581a", " a  b   c ", "e\u0301", "\u200bx", "\x00a\x01", "hello<0x41>", "unaffable, UNAFFABLE!", "x" * 130,
           "\U0001f469\u200d\U0001f469\u200d\U0001f467", "<unk>", "\r\na\r\n", "\ufb01n \u00bd \u0130"]
    return own + lines[::14]


def sentence_piece(name, **options):
    with tempfile.TemporaryDirectory() as folder:
        rules = os.path.join(folder, "rules.tsv")
        with open(rules, "w") as f:
            for source, target in RULES:
                f.write(" ".join(f"{ord(c):X}" for c in source) + "\t" + " ".join(f"{ord(c):X}" for c in target) + "\n")
        data = io.BytesIO()
        normalization = {"normalization_rule_name": "identity"} if options.pop("identity", False) else {
            "normalization_rule_tsv": rules}
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(LATIN * 4), model_writer=data, minloglevel=3, character_coverage=0.99, **normalization, **options)
    proto = model_pb2.ModelProto()
    proto.ParseFromString(data.getvalue())
    proto.trainer_spec.ClearField("input")
    os.makedirs(os.path.join(OUT, name), exist_ok=True)
    with open(os.path.join(OUT, name, "tokenizer.model"), "wb") as f:
        f.write(proto.SerializeToString())
    return proto


def sentence_piece_golden(proto):
    processor = sentencepiece.SentencePieceProcessor(model_proto=proto.SerializeToString())
    wanted = [t for t in texts() if not any(c in t for c in ("<s>", "</s>", "<unk>"))]
    ids = [processor.encode(t) for t in wanted]
    decoded = [processor.decode(i) for i in ids]
    unknown = processor.unk_id()
    return {"texts": wanted, "ids": [fnv(i) for i in ids],
            "decoded": [None if unknown in i else fnv(d.encode()) for i, d in zip(ids, decoded)]}


def added(*tokens):
    flags = {"<new>": {"lstrip": True}, "<word>": {"single_word": True, "rstrip": True}, "<norm>": {"normalized": True}}
    return [AddedToken(t, **{"normalized": False, **flags.get(t, {})}) for t in tokens]


def trained(model, trainer, pre, texts=LATIN):
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = pre
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def bpe(size, special, pre, texts=LATIN, **options):
    trainer_options = {k: v for k, v in options.items() if k in ("end_of_word_suffix", "continuing_subword_prefix")}
    trainer = trainers.BpeTrainer(vocab_size=size, special_tokens=special, show_progress=False, limit_alphabet=70, **trainer_options)
    return trained(models.BPE(**options), trainer, pre, texts)


def llama_decoder(*more):
    return decoders.Sequence([decoders.Replace(SPACE, " "), decoders.ByteFallback(), decoders.Fuse(), *more])


def charsmap():
    with tempfile.TemporaryDirectory() as folder:
        global OUT
        keep, OUT = OUT, folder
        proto = sentence_piece("x", vocab_size=200, model_type="unigram", hard_vocab_limit=False)
        OUT = keep
    return proto.normalizer_spec.precompiled_charsmap


def with_model(tokenizer, **fields):
    """The model's own options, which have no setters."""
    document = json.loads(tokenizer.to_str())
    document["model"].update(fields)
    return Tokenizer.from_str(json.dumps(document))


def hugging_face():
    meta = pre_tokenizers.Metaspace
    llama = bpe(580, ["<unk>", "<s>", "</s>", *BYTES], meta(), unk_token="<unk>", fuse_unk=True, byte_fallback=True)
    llama.pre_tokenizer = None
    llama.normalizer = normalizers.Sequence([normalizers.Prepend(SPACE), normalizers.Replace(" ", SPACE)])
    llama.decoder = llama_decoder(decoders.Strip(" ", 1, 0))
    llama.post_processor = processors.TemplateProcessing("<s> $A", "<s> $A <s> $B", [("<s>", 1)])

    mistral = Tokenizer.from_str(llama.to_str())
    mistral.normalizer = None
    mistral.pre_tokenizer = meta(prepend_scheme="first", split=False)

    gemma = Tokenizer.from_str(llama.to_str())
    gemma.normalizer = normalizers.Replace(" ", SPACE)
    gemma.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    gemma.decoder = llama_decoder()

    clip = bpe(400, ["<unk>"], pre_tokenizers.Sequence([pre_tokenizers.Whitespace()]), unk_token="<unk>", end_of_word_suffix="</w>")
    clip.normalizer = normalizers.Sequence([normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()])
    clip.decoder = decoders.BPEDecoder("</w>")

    middle = bpe(400, ["<unk>"], pre_tokenizers.BertPreTokenizer(), unk_token="<unk>", fuse_unk=False, continuing_subword_prefix="##")
    middle.normalizer = normalizers.Sequence([normalizers.NFKD(), normalizers.StripAccents(), normalizers.Strip()])
    middle.decoder = decoders.WordPiece("##", cleanup=True)

    unigram_trainer = dict(show_progress=False, unk_token="<unk>")
    t5 = trained(models.Unigram(), trainers.UnigramTrainer(vocab_size=400, special_tokens=["<pad>", "</s>", "<unk>"], **unigram_trainer),
                 meta())
    t5.normalizer = normalizers.Sequence([normalizers.Precompiled(charsmap()), normalizers.Strip(left=False, right=True),
                                          normalizers.Replace(Regex(" {2,}"), SPACE)])
    t5.decoder = decoders.Metaspace()
    t5.post_processor = processors.TemplateProcessing("$A </s>", "$A </s> $B </s>", [("</s>", 1)])

    bytes_too = trained(models.Unigram(), trainers.UnigramTrainer(vocab_size=560, special_tokens=["<unk>", *BYTES], **unigram_trainer),
                        pre_tokenizers.Sequence([pre_tokenizers.WhitespaceSplit(), meta()]))
    bytes_too = with_model(bytes_too, byte_fallback=True)
    bytes_too.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC()])
    bytes_too.decoder = llama_decoder(decoders.Strip(" ", 1, 1))
    bytes_too.post_processor = processors.RobertaProcessing(("<unk>", 0), ("<0x00>", 1))

    bert = trained(models.WordPiece(unk_token="[UNK]", max_input_chars_per_word=30),
                   trainers.WordPieceTrainer(vocab_size=400, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]"], show_progress=False),
                   pre_tokenizers.BertPreTokenizer(), TEXT)
    bert.normalizer = normalizers.BertNormalizer()
    bert.decoder = decoders.WordPiece("##")
    bert.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))

    words = trained(models.WordLevel(unk_token="[UNK]"), trainers.WordLevelTrainer(vocab_size=200, special_tokens=["[UNK]"],
                                                                                   show_progress=False),
                    pre_tokenizers.Sequence([pre_tokenizers.Whitespace(), pre_tokenizers.Digits(True)]))

    lossy = trained(models.BPE(), trainers.BpeTrainer(vocab_size=300, show_progress=False), pre_tokenizers.ByteLevel())
    lossy.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Punctuation("contiguous"), pre_tokenizers.ByteLevel(True, use_regex=True)])
    lossy.decoder = decoders.ByteLevel()
    found = {"llama": llama, "mistral": mistral, "gemma": gemma, "clip": clip, "middle": middle, "t5": t5, "unigram_bytes": bytes_too,
             "bert": bert, "words": words, "lossy_bytes": lossy}
    for tokenizer in found.values():
        tokenizer.add_tokens(added("<new>", "<word>", "<norm>"))
        tokenizer.add_special_tokens(added("<s>", "</s>"))
    return found


def hugging_face_golden(tokenizer):
    wanted = texts()
    ids = [tokenizer.encode(t).ids for t in wanted]

    def decoded(i, skip):
        try:
            return fnv(tokenizer.decode(i, skip_special_tokens=skip).encode())
        except BaseException:  # its Strip panics on nothing
            return None

    return {"ids": [fnv(i) for i in ids], "decoded": [decoded(i, True) for i in ids], "whole": [decoded(i, False) for i in ids]}


class Gguf:
    def __init__(self, name, model):
        os.makedirs(os.path.join(OUT, name), exist_ok=True)
        self.writer = gguf.GGUFWriter(os.path.join(OUT, name, "tiny.gguf"), "no-family-of-ours")
        self.writer.add_tokenizer_model(model)

    def close(self):
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()


def gguf_sentence_piece(name, model, proto, **keys):
    file = Gguf(name, model)
    file.writer.add_token_list([p.piece for p in proto.pieces])
    file.writer.add_token_scores([p.score for p in proto.pieces])
    file.writer.add_token_types([p.type for p in proto.pieces])
    file.writer.add_unk_token_id(proto.trainer_spec.unk_id)
    file.writer.add_bos_token_id(proto.trainer_spec.bos_id)
    file.writer.add_eos_token_id(proto.trainer_spec.eos_id)
    for key, value in keys.items():
        getattr(file.writer, "add_" + key)(value)
    file.close()


def gguf_bert(name, tokenizer):
    vocabulary = tokenizer.get_vocab(with_added_tokens=False)
    tokens = sorted(vocabulary, key=vocabulary.get)
    file = Gguf(name, "bert")
    special = [t.startswith("[") and t.endswith("]") and len(t) > 2 for t in tokens]
    file.writer.add_token_list([t if s else t[2:] if t.startswith("##") else SPACE + t for t, s in zip(tokens, special)])
    file.writer.add_token_types([3 if s else 1 for s in special])
    for role, id in (("pad", 0), ("unk", 1), ("bos", 2), ("sep", 3)):
        getattr(file.writer, f"add_{role}_token_id")(id)
    file.close()
    plain = Tokenizer.from_str(json.dumps({**json.loads(tokenizer.to_str()), "added_tokens": []}))
    document = json.loads(plain.to_str())
    document["model"]["max_input_chars_per_word"] = 100
    return Tokenizer.from_str(json.dumps(document))


def gguf_gemma4(name, tokenizer):
    document = json.loads(tokenizer.to_str())
    tokens = sorted(document["model"]["vocab"], key=document["model"]["vocab"].get)
    file = Gguf(name, "gemma4")
    file.writer.add_token_list(tokens)
    file.writer.add_token_types([6 if t in BYTES else 3 if t in ("<unk>", "<s>", "</s>") else 1 for t in tokens])
    file.writer.add_token_merges([" ".join(m) for m in document["model"]["merges"]])
    file.writer.add_bos_token_id(1)
    file.writer.add_eos_token_id(2)
    file.close()


def named_golden():
    with open(os.path.join(HERE, "tiny_tokenizer", "tokenizer.json")) as f:
        tiny = json.load(f)
    with open(os.path.join(OUT, "pre_tokenizers.json")) as f:
        rows = json.load(f)
    lines = [t for t in make_lines(random.Random(20240611)) if unicodedata.is_normalized("NFC", t)]
    result = {}
    for row in rows:
        split = [{"type": "Split", "pattern": {"Regex": e}, "behavior": "Isolated", "invert": False} for e in row["expressions"]]
        tiny["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": split + [
            {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}]}
        tiny["model"]["ignore_merges"] = row["ignore_merges"]
        tokenizer = Tokenizer.from_str(json.dumps(tiny))
        tokenizer.add_special_tokens([])
        ids = [tokenizer.encode(t).ids for t in lines]
        hashes = [fnv(i) for i in ids]
        for name in row["names"]:
            result[name] = {"all": fnv(int(h[:8], 16) for h in hashes), "lines": hashes[::40]}
    return result


def main():
    golden = {"hugging_face": {}, "sentence_piece": {}, "texts": texts()}
    found = hugging_face()
    for name, tokenizer in found.items():
        os.makedirs(os.path.join(OUT, name), exist_ok=True)
        with open(os.path.join(OUT, name, "tokenizer.json"), "w", encoding="utf-8") as f:
            f.write(json.dumps(json.loads(tokenizer.to_str()), ensure_ascii=False, separators=(",", ":")) + "\n")
        golden["hugging_face"][name] = hugging_face_golden(tokenizer)
    models_ = {
        "sp_unigram": dict(model_type="unigram", vocab_size=420, hard_vocab_limit=False, user_defined_symbols=["the", "ab"]),
        "sp_unigram_bytes": dict(model_type="unigram", vocab_size=560, hard_vocab_limit=False, byte_fallback=True,
                                 remove_extra_whitespaces=False, add_dummy_prefix=False),
        "sp_bpe": dict(model_type="bpe", vocab_size=420, treat_whitespace_as_suffix=True),
        "sp_bpe_bytes": dict(model_type="bpe", vocab_size=620, byte_fallback=True, remove_extra_whitespaces=False, identity=True,
                             split_digits=True, allow_whitespace_only_pieces=True),
    }
    protos = {name: sentence_piece(name, **options) for name, options in models_.items()}
    for name, proto in protos.items():
        golden["sentence_piece"][name] = sentence_piece_golden(proto)
    gguf_sentence_piece("gguf_llama", "llama", protos["sp_bpe_bytes"])
    golden["sentence_piece"]["gguf_llama"] = golden["sentence_piece"]["sp_bpe_bytes"]
    t5 = protos["sp_unigram_bytes"]
    gguf_sentence_piece("gguf_t5", "t5", t5, add_space_prefix=False, remove_extra_whitespaces=False,
                        precompiled_charsmap=t5.normalizer_spec.precompiled_charsmap)
    golden["sentence_piece"]["gguf_t5"] = golden["sentence_piece"]["sp_unigram_bytes"]
    bert = hugging_face_golden(gguf_bert("gguf_bert", found["bert"]))
    golden["hugging_face"]["gguf_bert"] = {**bert, "decoded": [None] * len(bert["ids"])}  # nothing is special there
    gemma4 = Tokenizer.from_str(found["gemma"].to_str())
    document = json.loads(gemma4.to_str())
    document["added_tokens"] = [t for t in document["added_tokens"] if t["content"] in ("<s>", "</s>", "<unk>")]
    gguf_gemma4("gguf_gemma4", gemma4)
    by_line = Tokenizer.from_str(json.dumps(document))
    by_line.pre_tokenizer = pre_tokenizers.Split(Regex(r"[^\n]+|\n+"), "isolated")  # so does llama.cpp
    golden["hugging_face"]["gguf_gemma4"] = hugging_face_golden(by_line)
    golden["named"] = named_golden()
    for part in golden["sentence_piece"].values():
        part.pop("texts", None)
    golden["sentence_piece_texts"] = [i for i, t in enumerate(golden["texts"]) if not any(c in t for c in ("<s>", "</s>", "<unk>"))]
    with open(os.path.join(OUT, "golden.json"), "w", encoding="utf-8") as f:
        f.write(json.dumps(golden, ensure_ascii=True, separators=(",", ":")) + "\n")


main()
