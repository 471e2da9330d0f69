"""A Llama of a given size with random weights, for timings on machines that have no real one:
random_checkpoint.py 135m|1.7b|8b TOKENIZER_FOLDER OUT"""
import sys

import torch
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

# SmolLM2's two (tied embeddings) and the shape of Llama 3.1 8B.
SHAPES = {
    "135m": dict(hidden_size=576, intermediate_size=1536, num_hidden_layers=30, num_attention_heads=9, num_key_value_heads=3,
                 vocab_size=49152, tie_word_embeddings=True, rope_theta=100000.0),
    "1.7b": dict(hidden_size=2048, intermediate_size=8192, num_hidden_layers=24, num_attention_heads=32,
                 num_key_value_heads=32, vocab_size=49152, tie_word_embeddings=True, rope_theta=130000.0),
    "8b": dict(hidden_size=4096, intermediate_size=14336, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8,
               vocab_size=128256, tie_word_embeddings=False, rope_theta=500000.0),
}


def main(shape: str, tokenizer: str, out: str) -> None:
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    config = LlamaConfig(max_position_embeddings=8192, bos_token_id=1, eos_token_id=2, pad_token_id=2, **SHAPES[shape])
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.device(device):
        model = LlamaForCausalLM(config)
    model.to(torch.bfloat16).save_pretrained(out)
    AutoTokenizer.from_pretrained(tokenizer).save_pretrained(out)


main(*sys.argv[1:])
