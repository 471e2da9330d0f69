"""The quick start's model as a Hugging Face folder in fp32, for the peers: checkpoint.py SOURCE.gguf OUT"""
import pathlib
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaForCausalLM


def main(gguf: pathlib.Path, out: str) -> None:
    """The peers' timings need weights and sizes only; ids are given as numbers, so that the pre-tokenizer does not matter."""
    from_gguf = AutoModelForCausalLM.from_pretrained(str(gguf.parent), gguf_file=gguf.name, dtype=torch.float32)
    settings = from_gguf.config
    settings.__dict__.pop("quantization_config", None)
    dense = LlamaForCausalLM(settings).to(torch.float32)
    dense.load_state_dict(from_gguf.state_dict())
    dense.save_pretrained(out)
    AutoTokenizer.from_pretrained(str(gguf.parent), gguf_file=gguf.name).save_pretrained(out)


main(pathlib.Path(sys.argv[1]), sys.argv[2])
