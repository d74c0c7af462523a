"""What a training process uses of its machine, under the names that MLflow's pages group as system metrics."""

import psutil
import torch

PREFIX = "system/"
_MIB = 2**20


def system_metrics() -> dict[str, float]:
    """CPU of the machine since the last call (percent), memory of process, machine and this process's GPU (MiB)."""
    memory = psutil.virtual_memory()
    found = {
        "cpu_utilization_percentage": psutil.cpu_percent(),
        "process_memory_usage_megabytes": psutil.Process().memory_info().rss / _MIB,
        "system_memory_usage_megabytes": memory.used / _MIB,
        "system_memory_usage_percentage": memory.percent,
    }
    if torch.cuda.memory_allocated() > 0:  # a look at a GPU that computes nothing would take memory there
        number = torch.cuda.current_device()
        free, total = torch.cuda.mem_get_info(number)
        found[f"gpu_{number}_memory_usage_megabytes"] = (total - free) / _MIB
        found[f"gpu_{number}_memory_usage_percentage"] = 100 * (total - free) / total
    return {f"{PREFIX}{name}": float(value) for name, value in found.items()}
