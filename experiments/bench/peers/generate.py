"""Sampling 64 tokens after prompts of 32 with transformers' generate: the case `sampling-Nx64` of leash_bench."""
import torch
from transformers import AutoModelForCausalLM

from common import arguments, median, now, random_ids, report

PROMPT, NEW = 32, 64


def main() -> None:
    args = arguments(__doc__, sequences=["16", "1", "32", "64", "256"])
    sequences = int(args.sequences)
    model = AutoModelForCausalLM.from_pretrained(args.checkpoint, dtype=args.dtype).to(args.device).eval()
    ids = torch.tensor(random_ids(sequences, PROMPT), device=args.device)
    rates = []
    for run in range(args.repeats + 1):
        start = now()
        with torch.inference_mode():
            out = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=NEW, min_new_tokens=NEW,
                                 do_sample=True, temperature=0.7, top_k=0, top_p=1.0, pad_token_id=2)
        if run > 0:  # the first warms up
            rates.append(sequences * NEW / (now() - start))
        assert out.shape == (sequences, PROMPT + NEW), out.shape
    report("transformers", args, [(f"sampling-{sequences}x{NEW}", median(rates), "tok/s")])


main()
