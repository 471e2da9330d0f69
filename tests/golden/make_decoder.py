"""Golden logits: a tiny random Llama (files in tiny_llama/), the same with a PEFT adapter (tiny_llama_adapter/), and SmolLM2-135M.

    python make_decoder.py [CHECKPOINT]     # CHECKPOINT: the GGUF converted by transformers to a folder in fp32

Oracle: transformers 5.23 and PEFT 0.21 on torch 2.11, CPU, eager attention; fp32, and float64 where PEFT's adapter is on.
"""
import os
import sys

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM

here = os.path.dirname(os.path.abspath(__file__))
torch.manual_seed(0)
torch.set_grad_enabled(False)


def tiny():
    config = LlamaConfig(vocab_size=96, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                         num_key_value_heads=2, head_dim=8, max_position_embeddings=64, rope_theta=10000.0,
                         rms_norm_eps=1e-5, tie_word_embeddings=False, attention_bias=True, bos_token_id=1, eos_token_id=2,
                         attn_implementation="eager")
    model = LlamaForCausalLM(config).float().eval()
    for name, p in model.named_parameters():
        p.copy_(torch.randn_like(p) * 0.1 + 1 if "norm" in name else torch.randn_like(p) * 0.25)
    model.save_pretrained(os.path.join(here, "tiny_llama"))
    sequences = [[5], torch.randint(0, 96, (64,)).tolist(), [3, 1, 4, 1, 5, 9, 2, 6], [95, 0, 95]]
    out = {}
    for i, ids in enumerate(sequences):
        out[f"ids.{i}"] = torch.tensor(ids)
        out[f"logits.{i}"] = model(torch.tensor([ids])).logits[0].clone()
        out[f"hidden.{i}"] = model.model(torch.tensor([ids])).last_hidden_state[0].clone()
    peft = get_peft_model(model, LoraConfig(r=3, lora_alpha=7, lora_dropout=0.0, bias="lora_only", task_type="CAUSAL_LM",
                                            target_modules=["q_proj", "v_proj", "o_proj", "down_proj", "lm_head"],
                                            rank_pattern={"layers.1.self_attn.q_proj": 5},
                                            alpha_pattern={"o_proj": 2}))
    for p in peft.parameters():
        if p.requires_grad:  # what the adapter's files hold: k_proj's bias, not adapted, stays the base's
            p.copy_(torch.randn_like(p) * 0.2)
    peft.save_pretrained(os.path.join(here, "tiny_llama_adapter"), save_embedding_layers=False)
    peft.eval().double()  # fp32 alone is 1e-5 off here; norms and softmax stay fp32
    for i, ids in enumerate(sequences):
        out[f"adapted.{i}"] = peft(torch.tensor([ids])).logits[0].float()
    # Gradients of a sum of weighted log-probs at temperature 0.7.
    with torch.enable_grad():
        ids = torch.tensor([sequences[2]])
        logp = torch.log_softmax(peft(ids).logits[0, :-1] / 0.7, -1).gather(1, ids[0, 1:, None])[:, 0]
        weights = torch.linspace(-1, 2, logp.numel(), dtype=torch.float64)
        (logp * weights).sum().backward()
    out["gradient_weights"], out["gradient_logprobs"] = weights.float(), logp.detach().float()
    for name, p in peft.named_parameters():
        if p.grad is not None:
            out["grad." + name.replace(".default", "")] = p.grad.float()
    save_file(out, os.path.join(here, "decoder_tiny.safetensors"))


def real(checkpoint):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32, attn_implementation="eager").eval()
    prompts = ["The capital of France is", "def fibonacci(n):\n    if n < 2:\n", "Once upon a time, in 1987,", "北京是中国的首都。 Ça va?",
               "<|im_start|>user\nGive me three reasons to walk more.<|im_end|>\n<|im_start|>assistant\n"]
    picked = torch.arange(0, 49152, 311)
    out = {"picked": picked}
    for i, prompt in enumerate(prompts):
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False).input_ids
        logits = model(ids).logits[0]
        out[f"ids.{i}"] = ids[0]
        out[f"logits.{i}"] = logits[:, picked].clone()
        out[f"logsumexp.{i}"] = logits.logsumexp(-1)
        steps, gaps = [], []
        current = ids
        for _ in range(64):
            last = model(current).logits[0, -1]
            top = last.topk(2)
            steps.append(top.indices[0].item())
            gaps.append((top.values[0] - top.values[1]).item())
            current = torch.cat([current, top.indices[:1][None]], 1)
        out[f"greedy.{i}"] = torch.tensor(steps)
        out[f"greedy_gap.{i}"] = torch.tensor(gaps)
    save_file(out, os.path.join(here, "decoder_smollm2.safetensors"))


tiny()
if len(sys.argv) > 1:
    real(sys.argv[1])
