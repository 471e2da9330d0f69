"""A tiny random Llama as a Hugging Face folder, with a short recipe of each task. Nothing but Python's standard library."""
import json
import pathlib
import random
import struct
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests" / "fuzz"))
from make_corpus import CHATML, SPECIAL, byte_alphabet, compact, product, safetensors, tokenizer  # noqa: E402

HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD_DIM = 32, 2, 4, 2, 8
TOKENS = SPECIAL + byte_alphabet()

CONFIG = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu", "hidden_size": HIDDEN,
          "intermediate_size": 2 * HIDDEN, "num_hidden_layers": LAYERS, "num_attention_heads": HEADS,
          "num_key_value_heads": KV_HEADS, "head_dim": HEAD_DIM, "max_position_embeddings": 128, "rms_norm_eps": 1e-5,
          "tie_word_embeddings": True, "vocab_size": len(TOKENS), "torch_dtype": "float32", "bos_token_id": 1, "eos_token_id": 2}

LORA = "lora: {r: 4, lora_alpha: 8, target_modules: all-linear}\n"
RUN = "run: {seed: 5, save_steps: 2, save_total_limit: 0, threads: 1}\n"
RECIPES = {
    "ppo": "task: ppo\nmodel: {path: model}\n" + LORA +
           "reward: [{kind: function, name: length, parameters: {target: 3}}]\n"
           "data: {train: prompts.jsonl, eval: held_out.jsonl}\nrollout: {response_length: 16}\n"
           "ppo: {total_episodes: 48, batch_size: 8, num_mini_batches: 2, num_ppo_epochs: 2, learning_rate: 1.0e-2,\n"
           "      eval_steps: 3, micro_batch_tokens: 100}\nlanes: {threads_per_lane: 1}\n" + RUN,
    "sft": "task: sft\nmodel: {path: model}\n" + LORA +
           "data: {train: samples.jsonl, eval_split: 0.2, max_length: 12}\n"
           "sft: {max_steps: 6, per_device_train_batch_size: 8, learning_rate: 1.0e-2, eval_strategy: steps, eval_steps: 3,\n"
           "      micro_batch_tokens: 40}\n" + RUN,
    "reward": "task: reward\nmodel: {path: model}\n" + LORA +
              "data: {train: pairs.jsonl, eval_split: 0.2}\n"
              "reward: {max_steps: 6, per_device_train_batch_size: 4, learning_rate: 5.0e-3, eval_strategy: steps,\n"
              "         eval_steps: 3, micro_batch_tokens: 100}\n" + RUN,
}


def tensors():
    draw = random.Random(7)

    def normal(shape):
        values = [draw.gauss(0, 0.2) for _ in range(product(shape))]
        return "F32", shape, struct.pack(f"<{len(values)}f", *values)

    def ones(size):
        return "F32", [size], struct.pack(f"<{size}f", *[1.0] * size)

    yield "model.embed_tokens.weight", normal([len(TOKENS), HIDDEN])
    for layer in range(LAYERS):
        block = f"model.layers.{layer}"
        for name, shape in {"self_attn.q_proj": [HEADS * HEAD_DIM, HIDDEN], "self_attn.k_proj": [KV_HEADS * HEAD_DIM, HIDDEN],
                            "self_attn.v_proj": [KV_HEADS * HEAD_DIM, HIDDEN], "self_attn.o_proj": [HIDDEN, HEADS * HEAD_DIM],
                            "mlp.gate_proj": [2 * HIDDEN, HIDDEN], "mlp.up_proj": [2 * HIDDEN, HIDDEN],
                            "mlp.down_proj": [HIDDEN, 2 * HIDDEN]}.items():
            yield f"{block}.{name}.weight", normal(shape)
        yield f"{block}.input_layernorm.weight", ones(HIDDEN)
        yield f"{block}.post_attention_layernorm.weight", ones(HIDDEN)
    yield "model.norm.weight", ones(HIDDEN)


def write_jsonl(file, records):
    file.write_text("".join(compact(record) + "\n" for record in records))


def write_workspace(folder):
    model = folder / "model"
    model.mkdir(parents=True)
    (model / "config.json").write_text(json.dumps(CONFIG, indent=1))
    words = tokenizer()
    words["model"].update(merges=[], vocab={token: i for i, token in enumerate(TOKENS)})
    (model / "tokenizer.json").write_text(compact(words))
    (model / "tokenizer_config.json").write_text(compact({"eos_token": "<|im_end|>", "chat_template": CHATML}))
    (model / "model.safetensors").write_bytes(safetensors(dict(tensors())))
    write_jsonl(folder / "prompts.jsonl", [{"prompt": word} for word in
                                           ("alpha", "be", "gamma ray", "delta", "e", "zeta function", "eta")])
    write_jsonl(folder / "held_out.jsonl", [{"prompt": "theta"}, {"prompt": "iota"}])
    write_jsonl(folder / "samples.jsonl", [{"prompt": f"q{i}? ", "completion": "y" * (1 + i % 3) + "es"} for i in range(30)])
    write_jsonl(folder / "pairs.jsonl", [{"prompt": f"q{i // 2} ", "chosen": "y" * (1 + i % 5) + "es",
                                          "rejected": "n" * (1 + i % 3) + "o"} for i in range(30)])
    for task, recipe in RECIPES.items():
        (folder / f"{task}.yaml").write_text(recipe)
