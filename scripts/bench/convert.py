"""Convert a checkpoint of random LLaMA-like tensors (bfloat16) to our names, beside a plain copy of the same file.

    python scripts/bench/convert.py                  # 2 GB, 5 runs of each, medians
    python scripts/bench/convert.py --gb 8 --runs 3 --folder /mnt/disk

What is measured: seconds from the call until the written file is flushed to the disk (fsync), with the source in the
page cache (it has just been written and is read once before), so the disk is written to and not read from; and of
them the seconds on a processor, which say more where the disk or other work is what one waits for. Each run
is a process of its own, conversion and copy take turns, and its output is deleted before the next. Memory is the
largest resident set of the process (VmHWM) and that before the call; pages of the page cache do not count.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from mindformers.arch.paths import parameter_table
from mindformers.weights.convert import convert
from mindformers.weights.folder import config_from_hf, family_of, weight_map_of
from mindformers.weights.stored import StoredTensor
from mindformers.weights.writers import save_json, save_tensors

WAYS = ("convert", "copy")
SIZES = {
    "model_type": "llama",
    "architectures": ["LlamaForCausalLM"],
    "vocab_size": 32000,
    "hidden_size": 2048,
    "intermediate_size": 5504,
    "num_attention_heads": 16,
    "torch_dtype": "bfloat16",
}
ALL_IN_ONE = 10**15
"""Shard size that keeps one file, so that both ways write the same."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gb", type=float, default=2.0, help="size of the checkpoint, in 10^9 bytes")
    parser.add_argument("--runs", type=int, default=5, help="runs of each way")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", help="where the temporary folder goes; default: the system's")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    parser.add_argument("--work", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        print(json.dumps(measured(arguments.way, Path(arguments.work))))
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as work:
        if shutil.disk_usage(work).free < 3e9 * arguments.gb:
            sys.exit(f"{work} has {shutil.disk_usage(work).free / 1e9:.1f} GB free; {3 * arguments.gb:g} are needed")
        size, largest = make(Path(work, "source"), arguments.gb, arguments.seed)
        print(f"{size / 1e9:.2f} GB, the largest tensor {largest / 1e6:.0f} MB, {arguments.runs} runs of each way")
        command = [sys.executable, __file__, "--work", work, "--way"]
        results = {way: [] for way in WAYS}
        for _ in range(arguments.runs):
            for way in WAYS:
                output = subprocess.run([*command, way], check=True, stdout=subprocess.PIPE, text=True).stdout
                results[way].append(json.loads(output))
                shutil.rmtree(Path(work, "target"))
        report(results, size)


def make(folder: Path, gigabytes: float, seed: int) -> tuple[int, int]:
    """Write the source; returns its size and that of its largest tensor, in bytes."""
    rng = np.random.default_rng(seed)

    def size_of(layers: int) -> int:
        table = parameter_table(config_from_hf({**SIZES, "num_hidden_layers": layers}).arch("causal_lm"))
        return 2 * sum(int(np.prod(spec.shape)) for spec in table.values())

    layers = 1 + max(0, round((gigabytes * 1e9 - size_of(1)) / (size_of(2) - size_of(1))))
    values = {**SIZES, "num_hidden_layers": layers}
    table = parameter_table(config_from_hf(values).arch("causal_lm"))

    def random(shape: tuple[int, ...]) -> np.ndarray:
        return rng.integers(0, 2**16, shape, np.uint16)

    tensors = {
        step.theirs: StoredTensor(
            "BF16", table[step.paths[0]].shape, lambda step=step: random(table[step.paths[0]].shape)
        )
        for step in weight_map_of(family_of(values)).export(list(table))
    }
    folder.mkdir()
    save_json(folder / "config.json", values)
    save_tensors(folder, tensors, shard_bytes=ALL_IN_ONE)
    return size_of(layers), max(tensor.nbytes_as(None) for tensor in tensors.values())


def measured(way: str, work: Path) -> dict[str, float]:
    """Return the seconds of one run, those on a processor, and the memory before and at its largest, in bytes."""
    source, target = work / "source", work / "target"
    with (source / "model.safetensors").open("rb") as stream:
        while stream.read(2**20):
            pass
    before = peak_memory()
    start, busy = time.perf_counter(), time.process_time()
    if way == "convert":
        convert(source, target, "hf", "native", shard_bytes=ALL_IN_ONE)
    else:
        target.mkdir()
        shutil.copyfile(source / "model.safetensors", target / "model.safetensors")
        with (target / "model.safetensors").open("rb+") as stream:
            os.fsync(stream.fileno())
    seconds, busy = time.perf_counter() - start, time.process_time() - busy
    return {"seconds": seconds, "busy": busy, "before": before, "peak": peak_memory()}


def peak_memory() -> int:
    """Return the largest resident set of this process so far, in bytes."""
    status = Path("/proc/self/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024


def report(results: dict[str, list[dict[str, float]]], size: int) -> None:
    print(f"{'':10}{'median s':>10}{'GB/s':>8}{'CPU s':>8}{'all runs, s':>36}{'peak MB':>10}{'before MB':>11}")
    medians = {}
    for way in WAYS:
        seconds = [run["seconds"] for run in results[way]]
        medians[way] = statistics.median(seconds)
        busy = statistics.median(run["busy"] for run in results[way])
        runs = " ".join(f"{value:.2f}" for value in seconds)
        peak, before = (max(run[key] for run in results[way]) / 1e6 for key in ("peak", "before"))
        speed = size / 1e9 / medians[way]
        print(f"{way:10}{medians[way]:10.2f}{speed:8.2f}{busy:8.2f}{runs:>36}{peak:10.0f}{before:11.0f}")
    print(f"a conversion takes {medians['convert'] / medians['copy']:.2f} times as long as a copy")


if __name__ == "__main__":
    main()
