"""Two sides in a process each, run by turns, so that whatever else the machine does hits both alike."""

import datetime
import json
import multiprocessing
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from memory import resident_peak
from setting import Setting, write_retriever

from sparsemill.job import limit_threads

OURS, THEIRS = "sparsemill", "sentence-transformers"
RESULTS = Path(__file__).resolve().parent / "results"
Run = Callable[[], None]
Side = Callable[[Setting], tuple[dict[str, float], Run]]
"""Prepares a side: facts that both sides must agree on, and one repetition."""


def _peak(device: str) -> int:
    """Peak memory of this process since `_reset`, in bytes: resident (CPU) or allocated on the GPU."""
    if device == "cuda":
        import torch

        return int(torch.cuda.max_memory_allocated())
    return resident_peak()


def _reset(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def _synchronize(device: str) -> None:
    if device == "cuda":
        import torch

        torch.cuda.synchronize()


def _serve(side: Side, setting: Setting, pipe: Any) -> None:
    import torch

    torch.set_num_threads(setting.threads)
    facts, run = side(setting)
    _reset(setting.device)
    loaded = _peak(setting.device)
    run()
    pipe.send(facts)
    while pipe.recv():
        _synchronize(setting.device)
        wall, cpu = time.perf_counter(), time.process_time()
        run()
        _synchronize(setting.device)
        pipe.send({"seconds": time.perf_counter() - wall, "cpu_seconds": time.process_time() - cpu})
    pipe.send({"loaded": loaded, "peak": _peak(setting.device)})


def _alternate(sides: dict[str, Side], setting: Setting, *, repetitions: int) -> dict[str, Any]:
    if setting.device == "cpu":  # all cores tokenise for a GPU
        limit_threads(setting.threads)
    context = multiprocessing.get_context("spawn")
    pipes, facts = {}, {}
    for name, side in sides.items():
        pipes[name], theirs = context.Pipe()
        context.Process(target=_serve, args=(side, setting, theirs), daemon=True).start()
        facts[name] = pipes[name].recv()  # one after the other: starting is part of no measurement
    times: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    for repetition in range(repetitions):
        for name in list(sides)[:: 1 if repetition % 2 else -1]:
            pipes[name].send(True)
            times[name].append(pipes[name].recv())
    for pipe in pipes.values():
        pipe.send(False)
    return {name: {"facts": facts[name], "times": times[name], "memory": pipes[name].recv()} for name in sides}


def _check_agreement(found: dict[str, Any], *, tolerance: float) -> None:
    ours, theirs = found[OURS]["facts"], found[THEIRS]["facts"]
    for name, value in ours.items():
        if not abs(value - theirs[name]) <= tolerance * abs(theirs[name]):  # so that NaN disagrees
            sys.exit(f"the sides disagree on {name}: {value} and {theirs[name]}; nothing to compare")


def compare(sides: dict[str, Side], setting: Setting, *, repetitions: int, items: int) -> dict[str, Any]:
    """Run both sides of one comparison.

    Args:
        sides: `OURS` and `THEIRS`.
        setting: what to run; `folder` is filled here.
        repetitions: of each side, by turns; a warm-up of each goes before.
        items: documents of one repetition.

    Returns:
        Times and memory of each side, and ratios of theirs to ours: median, and the least and largest of a repetition.
    """
    with tempfile.TemporaryDirectory() as folder:
        write_retriever(Path(folder), setting.model, active=setting.active, length=setting.length)
        setting = Setting(**{**setting.__dict__, "folder": Path(folder)})
        found = _alternate(sides, setting, repetitions=repetitions)
    _check_agreement(found, tolerance=1e-3 if setting.precision == "fp32" else 0.1)
    for part in found.values():
        part["median"] = statistics.median(time["seconds"] for time in part["times"])
        part["documents_per_second"] = items / part["median"]
    ours, theirs = found[OURS], found[THEIRS]
    pairs = list(zip(theirs["times"], ours["times"], strict=True))
    ratios = [a["seconds"] / b["seconds"] for a, b in pairs]
    above = [part["memory"]["peak"] - part["memory"]["loaded"] for part in (ours, theirs)]
    found["ratio"] = {
        "speed": statistics.median(ratios),
        "speed_least": min(ratios),
        "speed_most": max(ratios),
        "speed_cpu": statistics.median(a["cpu_seconds"] / b["cpu_seconds"] for a, b in pairs),
        "memory": ours["memory"]["peak"] / theirs["memory"]["peak"],
        "memory_above_loaded": above[0] / above[1],
    }
    return found


def machine(device: str) -> str:
    """The class of machine, without its name."""
    if device == "cuda":
        import torch

        return torch.cuda.get_device_name()
    info = Path("/proc/cpuinfo").read_text()
    model = info.split("model name")[1].split(":")[1].split("\n")[0].strip()
    return f"{model}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}"


def _row(model: str, found: dict[str, Any]) -> str:
    ours, theirs, ratio = found[OURS], found[THEIRS], found["ratio"]
    peaks = [f"{side['memory']['peak'] / 1e6:,.0f} MB" for side in (theirs, ours)]
    cells = [
        model,
        f"{theirs['documents_per_second']:.1f}",
        f"{ours['documents_per_second']:.1f}",
        f"**{ratio['speed']:.2f}** ({ratio['speed_least']:.2f} to {ratio['speed_most']:.2f})",
        f"{ratio['speed_cpu']:.2f}",
        *peaks,
        f"{ratio['memory']:.2f}",
        f"**{ratio['memory_above_loaded']:.2f}**",
    ]
    return f"| {' | '.join(cells)} |"


def write_report(title: str, results: dict[str, Any], *, name: str | None, setting: Setting, notes: list[str]) -> None:
    """Print the table, and keep it with the measurements behind it if there is a name.

    Args:
        title: what was measured.
        results: model -> from `compare`.
        name: of the files below `results/`.
        setting: of the last comparison.
        notes: lines below the table.
    """
    from importlib.metadata import version

    versions = {package: version(package) for package in ("torch", "transformers", "sentence-transformers")}
    threads = f"{setting.threads} thread(s)" + (" of torch, all cores tokenise" if setting.device == "cuda" else "")
    words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    command = f"python benchmarks/{shlex.join(words)}"
    lines = [
        f"# {title}",
        "",
        f"`{command}`, {datetime.date.today().isoformat()}; {machine(setting.device)}; {threads}, "
        f"{setting.precision}; " + ", ".join(f"{package} {number}" for package, number in versions.items()),
        "",
        "| model | docs/s theirs | ours | speed, times theirs (range) | by CPU seconds | peak memory theirs | ours "
        "| share | share above the loaded model |",
        "|---|---|---|---|---|---|---|---|---|",
        *(_row(model, found) for model, found in results.items()),
        "",
        *notes,
    ]
    print("\n".join(lines))
    if name:
        RESULTS.mkdir(exist_ok=True)
        record = {"command": command, "machine": machine(setting.device), "versions": versions, "results": results}
        (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")
        (RESULTS / f"{name}.md").write_text("\n".join(lines) + "\n")
