"""llama.cpp's log-probs of token sequences (xllamacpp's build, f32 cache): llama_cpp_logprobs.py MODEL IDS-JSON [LORA]"""
import json, sys
import xllamacpp as x

def server(model, lora=None, vocab=None):
    p = x.CommonParams()
    p.model.path = model
    p.n_ctx = 512; p.n_batch = 512; p.n_ubatch = 512; p.n_parallel = 1
    p.cache_type_k = x.ggml_type.GGML_TYPE_F32; p.cache_type_v = x.ggml_type.GGML_TYPE_F32
    p.flash_attn_type = x.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    p.warmup = False; p.n_gpu_layers = 0; p.fit_params = False; p.verbosity = 0
    p.cpuparams.n_threads = 1; p.cpuparams_batch.n_threads = 1
    if lora: p.lora_adapters = [x.CommonAdapterLoraInfo(lora, 1.0)]
    return x.Server(p)

def logprobs(s, ids, n_vocab):
    out = []
    for i in range(1, len(ids)):
        r = s.handle_completions({"prompt": ids[:i], "n_predict": 1, "n_probs": n_vocab, "temperature": 1.0, "cache_prompt": False})
        r = json.loads(r) if isinstance(r, (str, bytes)) else r
        top = r["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        try: out.append({t["id"]: t["logprob"] for t in top}[ids[i]])
        except Exception: print(str(r)[:600], file=sys.stderr); raise
    return out

if __name__ == "__main__":
    s = server(sys.argv[1], sys.argv[4] if len(sys.argv) > 4 else None)
    print(json.dumps([logprobs(s, ids, int(sys.argv[3])) for ids in json.loads(sys.argv[2])]))
