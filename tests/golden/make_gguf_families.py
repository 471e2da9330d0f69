"""GGUFs of tiny random checkpoints of every architecture, as llama.cpp's own converter writes them, into gguf_families/.

    python make_gguf_families.py LLAMA_CPP [NAME...]

LLAMA_CPP is its source tree (in the sdist of llama-cpp-python: vendor/llama.cpp; 0.3.36 was used). NAME.gguf is f32 with a
made-up vocabulary, NAME.json has two texts and transformers' log-probs of the checkpoint that was converted. Facts are away
from their defaults as far as a GGUF can say them. Oracle: transformers 5.23 on torch 2.11, CPU, fp32, eager attention.
"""
import json
import os
import shutil
import sys
import tempfile

here = os.path.dirname(os.path.abspath(__file__))
llama_cpp = os.path.abspath(sys.argv[1])
sys.path[:0] = [llama_cpp, os.path.join(llama_cpp, "gguf-py")]

import torch  # noqa: E402
import transformers as tf  # noqa: E402
import gguf  # noqa: E402
from pathlib import Path  # noqa: E402
from conversion import get_model_class  # noqa: E402
from conversion.base import ModelType  # noqa: E402

VOCAB = 40
ids = dict(bos_token_id=1, eos_token_id=2, pad_token_id=0)
sizes = dict(vocab_size=VOCAB, hidden_size=24, intermediate_size=16, num_hidden_layers=2, num_attention_heads=2,
             num_key_value_heads=1, max_position_embeddings=64, **ids)
no_groups = dict(sizes, num_key_value_heads=2)
fused = dict(vocab_size=VOCAB, hidden_size=24, num_hidden_layers=2, num_attention_heads=2, **ids)
four = dict(fused, num_attention_heads=4)
gpt2 = dict(vocab_size=VOCAB, n_embd=24, n_layer=2, n_head=2, n_positions=48, **ids)
rope = lambda **fields: {"rope_parameters": fields}  # noqa: E731

cases = {
    "llama": (tf.LlamaConfig, dict(sizes, head_dim=20, attention_bias=True, mlp_bias=True, **rope(
        rope_type="linear", factor=2.5, rope_theta=700.0))),
    "llama_llama3": (tf.LlamaConfig, dict(sizes, tie_word_embeddings=True, **rope(
        rope_type="llama3", factor=4.0, rope_theta=50.0, low_freq_factor=1.0, high_freq_factor=4.0,
        original_max_position_embeddings=32))),
    "llama_yarn": (tf.LlamaConfig, dict(sizes, **rope(
        rope_type="yarn", factor=4.0, rope_theta=100.0, original_max_position_embeddings=16))),
    "mistral": (tf.MistralConfig, dict(sizes, head_dim=20, sliding_window=None)),
    "smollm3": (tf.SmolLM3Config, dict(sizes, num_hidden_layers=5, no_rope_layer_interval=4, tie_word_embeddings=True)),
    "qwen2": (tf.Qwen2Config, dict(sizes, **rope(rope_type="default", rope_theta=300.0))),
    "qwen3": (tf.Qwen3Config, dict(sizes, head_dim=20, tie_word_embeddings=True)),
    "gemma": (tf.GemmaConfig, dict(sizes, head_dim=20)),
    "gemma2": (tf.Gemma2Config, dict(sizes, head_dim=20, num_hidden_layers=3, sliding_window=5, query_pre_attn_scalar=20,
                                     attn_logit_softcapping=2.0, final_logit_softcapping=3.0)),
    "gemma3": (tf.Gemma3TextConfig, dict(sizes, head_dim=12, num_hidden_layers=7, sliding_window=5, query_pre_attn_scalar=12,
                                         final_logit_softcapping=5.0, rope_parameters={
                                             "full_attention": {"rope_type": "linear", "factor": 4.0, "rope_theta": 5000.0},
                                             "sliding_attention": {"rope_type": "default", "rope_theta": 100.0}})),
    "phi2": (tf.PhiConfig, dict(no_groups, intermediate_size=96, partial_rotary_factor=0.5)),
    "phi3": (tf.Phi3Config, dict(sizes, original_max_position_embeddings=64, sliding_window=5)),
    "phi3_longrope": (tf.Phi3Config, dict(sizes, max_position_embeddings=128, original_max_position_embeddings=24,
                                          partial_rotary_factor=0.5, tie_word_embeddings=True, **rope(
                                              rope_type="longrope", short_factor=[1.1, 1.5, 2.5],
                                              long_factor=[2.0, 4.0, 8.0]))),
    "gpt2": (tf.GPT2Config, gpt2),
    "gptneox": (tf.GPTNeoXConfig, dict(no_groups, rotary_pct=0.5)),
    "gptneox_sequential": (tf.GPTNeoXConfig, dict(no_groups, rotary_pct=1.0, use_parallel_residual=False)),
    "falcon_7b": (tf.FalconConfig, dict(fused, num_attention_heads=3, multi_query=True, num_kv_heads=1)),
    "falcon_40b": (tf.FalconConfig, dict(four, num_kv_heads=2, new_decoder_architecture=True, tie_word_embeddings=False)),
    "bloom": (tf.BloomConfig, dict(vocab_size=VOCAB, hidden_size=24, n_layer=2, n_head=3, **ids)),
    "olmo2": (tf.Olmo2Config, dict(sizes)),
    "granite": (tf.GraniteConfig, dict(sizes, attention_bias=True, mlp_bias=True, tie_word_embeddings=True,
                                       embedding_multiplier=3.5, residual_multiplier=0.6, attention_multiplier=0.2,
                                       logits_scaling=1.7)),
}


def randomise(model, generator):
    counts_from_one = model.config.model_type.startswith("gemma")
    with torch.no_grad():
        for name, p in model.named_parameters():
            noise = torch.randn(p.shape, generator=generator) * 0.3
            norm = ("norm" in name or ".ln_" in name) and not name.endswith("bias") and not counts_from_one
            p.copy_(noise + (1.0 if norm else 0.0))


def made_up_vocabulary(self):
    self.gguf_writer.add_tokenizer_model("gpt2")
    self.gguf_writer.add_tokenizer_pre("gpt-2")
    self.gguf_writer.add_token_list([f"t{i}" for i in range(VOCAB)])
    self.gguf_writer.add_token_types([1] * VOCAB)


def make(name, seed):
    config_class, fields = cases[name]
    config = config_class(**fields)
    model = tf.AutoModelForCausalLM.from_config(config, attn_implementation="eager").float().eval()
    generator = torch.Generator().manual_seed(seed)
    randomise(model, generator)
    golden = {"ids": [torch.randint(3, 36, (n,), generator=generator).tolist() for n in (23, 9)], "logprobs": []}
    with torch.no_grad():
        for text in golden["ids"]:
            logits = model(input_ids=torch.tensor([text])).logits[0, :-1].double()
            golden["logprobs"].append(torch.log_softmax(logits, -1).gather(1, torch.tensor(text[1:])[:, None])[:, 0].tolist())
    folder = tempfile.mkdtemp()
    model.save_pretrained(folder)
    architecture = json.load(open(os.path.join(folder, "config.json")))["architectures"][0]
    with open(os.path.join(folder, "tokenizer.json"), "w") as file:
        json.dump({"model": {"vocab": {f"t{i}": i for i in range(VOCAB)}}, "added_tokens": []}, file)
    base = get_model_class(architecture)

    class Converter(base):
        model_arch = base.model_arch
        set_vocab = made_up_vocabulary

    out = os.path.join(here, "gguf_families", name + ".gguf")
    hparams = Converter.load_hparams(Path(folder), False)
    # What transformers 5 writes elsewhere, and the converter looks for here.
    for key in ("rotary_pct", "n_positions"):
        if key in fields:
            hparams[{"n_positions": "n_ctx"}.get(key, key)] = fields[key]
    with torch.inference_mode():
        Converter(Path(folder), gguf.LlamaFileType.ALL_F32, Path(out), model_name=name, hparams=hparams).write()
    with open(out[:-5] + ".json", "w") as file:
        json.dump(golden, file)
    if os.environ.get("KEEP"):
        shutil.copytree(folder, os.path.join(os.environ["KEEP"], name), dirs_exist_ok=True)
    shutil.rmtree(folder)
    print(f"{name:20s} {os.path.getsize(out) / 1000:6.1f} kB", flush=True)


torch.set_num_threads(1)
for place, wanted in enumerate(sys.argv[2:] or cases):
    make(wanted, list(cases).index(wanted))
