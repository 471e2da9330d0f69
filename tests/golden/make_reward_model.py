"""Writes reward_model/: a tiny random LlamaForSequenceClassification as transformers saves it, and its scores of some texts.

The texts are bytes: byte b is token 3 + b, and 0, 1, 2 are <|endoftext|>, <|im_start|>, <|im_end|> (tests/rl/byte_tokenizer.h).

    python tests/golden/make_reward_model.py
"""
import json
from pathlib import Path

import torch
from transformers import LlamaConfig, LlamaForSequenceClassification

EOS = 2
TEXTS = [("What?", "Fine.", True), ("A longer prompt, please: ", "yes", False), ("x", "äöü 🙂", True), ("", "y", False)]

torch.manual_seed(11)
config = LlamaConfig(vocab_size=259, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                     num_key_value_heads=2, max_position_embeddings=48, num_labels=1, bos_token_id=0, eos_token_id=EOS, pad_token_id=0)
model = LlamaForSequenceClassification(config).eval()
with torch.no_grad():
    for parameter in model.parameters():
        if parameter.dim() > 1:
            parameter.normal_(0, 0.3)

folder = Path(__file__).with_name("reward_model")
model.save_pretrained(folder)
rows = []
for prompt, answer, ended in TEXTS:
    prompt_ids = [3 + byte for byte in prompt.encode()]
    token_ids = [3 + byte for byte in answer.encode()] + [EOS] * ended
    with torch.no_grad():
        score = model(torch.tensor([prompt_ids + token_ids])).logits.item()
    rows.append(dict(prompt=prompt, answer=answer, ended=ended, prompt_ids=prompt_ids, token_ids=token_ids, score=score))
(folder / "scores.json").write_text(json.dumps(rows, ensure_ascii=False, indent=0))
