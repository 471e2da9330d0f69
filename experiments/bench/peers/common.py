"""What all peers share: arguments, the CSV schema of leash_bench, the clock and the adapter of the comparison."""
import argparse
import datetime
import importlib.metadata
import resource

import torch

TARGETS = ["q_proj", "k_proj", "v_proj", "o_proj"]


def arguments(description: str, **choices: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("checkpoint", help="Hugging Face folder in fp32, see checkpoint.py")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=3)
    for name, values in choices.items():
        parser.add_argument(f"--{name}", choices=values, default=values[0])
    parsed = parser.parse_args()
    torch.set_num_threads(parsed.threads)
    return parsed


def random_ids(count: int, length: int, seed: int = 0) -> list[list[int]]:
    """Ids of ordinary words; which ones does not change the work."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(100, 40000, (count, length), generator=generator).tolist()


def median(values: list[float]) -> float:
    return torch.tensor(values, dtype=torch.float64).quantile(0.5).item()


def lora():
    from peft import LoraConfig
    return LoraConfig(r=16, lora_alpha=32, lora_dropout=0.0, bias="none", task_type="CAUSAL_LM", target_modules=TARGETS)


def machine() -> str:
    with open("/proc/cpuinfo") as cpus:
        names = [line.split(":", 1)[1].strip() for line in cpus if line.startswith("model name")]
    return names[0].replace(",", " ") if names else "unknown"


def report(package: str, rows: list[tuple[str, float, str]]) -> None:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6
    emit(package, importlib.metadata.version(package), torch.get_num_threads(), "fp32", peak, rows)


def emit(program: str, version: str, threads: int, dtype: str, peak: float, rows: list[tuple[str, float, str]]) -> None:
    """case,program,version,threads,dtype,value,unit,peak_mb,machine,date"""
    for case, value, unit in rows:
        print(f"{case},{program},{version},{threads},{dtype},{value:.6g},{unit},{peak:.0f},{machine()},"
              f"{datetime.date.today()}", flush=True)
