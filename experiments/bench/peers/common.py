"""What all peers share: arguments, the CSV schema of leash_bench, the clock and the adapter of the comparison."""
import argparse
import datetime
import importlib.metadata
import resource
import time

import torch

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj"]


def arguments(description: str, **choices: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("checkpoint", help="Hugging Face folder in fp32, see checkpoint.py")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    for name, values in choices.items():
        parser.add_argument(f"--{name}", choices=values, default=values[0])
    parsed = parser.parse_args()
    torch.set_num_threads(parsed.threads)
    parsed.dtype = getattr(torch, parsed.dtype)
    return parsed


def now() -> float:
    """The clock, after all work on a GPU is done."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def random_ids(count: int, length: int, seed: int = 0) -> list[list[int]]:
    """Ids of ordinary words; which ones does not change the work."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(100, 40000, (count, length), generator=generator).tolist()


def median(values: list[float]) -> float:
    return torch.tensor(values, dtype=torch.float64).quantile(0.5).item()


def lora():
    from peft import LoraConfig
    return LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM", target_modules=TARGETS)


def machine(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    with open("/proc/cpuinfo") as cpus:
        names = [line.split(":", 1)[1].strip() for line in cpus if line.startswith("model name")]
    return names[0].replace(",", " ") if names else "unknown"


def report(package: str, args: argparse.Namespace, rows: list[tuple[str, float, str]]) -> None:
    peak = (torch.cuda.max_memory_allocated() if args.device == "cuda"
            else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024) / 1e6
    dtype = {torch.float32: "fp32", torch.bfloat16: "bf16"}[args.dtype]
    emit(package, importlib.metadata.version(package), torch.get_num_threads(), dtype, peak, rows, args.device)


def emit(program: str, version: str, threads: int, dtype: str, peak: float, rows: list[tuple[str, float, str]],
         device: str = "cpu") -> None:
    """case,program,version,threads,dtype,value,unit,peak_mb,machine,date"""
    for case, value, unit in rows:
        print(f"{case},{program},{version},{threads},{dtype},{value:.6g},{unit},{peak:.0f},{machine(device)},"
              f"{datetime.date.today()}", flush=True)
