"""Time a whole optimizer step here and with Hugging Face on PyTorch, on the CPU; print times, ratios and peak memory.

    python scripts/bench/train_step.py
    ... --settings bert_384 gpt2 --layers 2 --turns 5 --compute_dtypes bfloat16 --output step.json
    ... --dropout 0        # both sides must then have the same losses; exits with 1 otherwise

A step is forward, backward, clipping to a global norm of 1, and AdamW with weight decay, on random tokens. Both sides
start from one folder of random weights and see the same batch. Each has a process of its own, which stays, and takes
one step in turn; Hugging Face's keep the quicker of two settings of the memory allocator. With 12 layers the three
processes need up to 25 GB: on a smaller machine --one_by_one ends each before the next one starts. LLaMA's dropout is
that of attention, the only one it has. Needs: pip install 'mindformers[oracle]'.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, Iterator, Optional, Sequence

import numpy as np

LEARNING_RATE, WEIGHT_DECAY, MAX_NORM = 1e-4, 0.01, 1.0
ALLOCATORS: dict[str, dict[str, str]] = {
    "default": {},
    "kept": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": "20000000000"},
}
"""Environment of a process on Hugging Face's side; `kept` does not give memory back to the system between tensors."""
OURS = "mindformers"
THEIRS = (("hf_float32", "hugging_face", "float32"), ("hf_bfloat16", "hugging_face", "bfloat16"))
"""Name, library and type of computing."""
WARM_UP = 1
"""Steps after the first one that choose an allocator and are not counted."""
EQUAL = 2e-4
"""Relative, of float32 losses without dropout after up to ten updates."""


@dataclass(frozen=True)
class Setting:
    """A model and its batch."""

    model_type: str
    head: str
    """Ending of the automatic class of the model, here and there."""
    rows: int
    length: int
    sizes: dict[str, Any] = field(default_factory=dict)
    """Keys of config.json besides the defaults of the family."""
    layers: str = "num_hidden_layers"
    dropouts: tuple[str, ...] = ()
    targets: int = 0
    """Tokens of a target, of an encoder-decoder."""


BERT_DROPOUTS = ("hidden_dropout_prob", "attention_probs_dropout_prob")
LLAMA = {
    "vocab_size": 32000,
    "hidden_size": 768,
    "intermediate_size": 2048,
    "num_hidden_layers": 12,
    "num_attention_heads": 12,
}
T5 = {"feed_forward_proj": "relu", "decoder_start_token_id": 0}
SETTINGS = {
    "bert_384": Setting("bert", "ForQuestionAnswering", 8, 384, dropouts=BERT_DROPOUTS),
    "bert_128": Setting("bert", "ForQuestionAnswering", 32, 128, dropouts=BERT_DROPOUTS),
    "gpt2": Setting(
        "gpt2", "ForCausalLM", 4, 512, layers="n_layer", dropouts=("resid_pdrop", "embd_pdrop", "attn_pdrop")
    ),
    "llama": Setting("llama", "ForCausalLM", 4, 512, LLAMA, dropouts=("attention_dropout",)),
    "t5_small": Setting("t5", "ForSeq2SeqLM", 8, 256, T5, layers="num_layers", dropouts=("dropout_rate",), targets=128),
}


def batch_of(setting: Setting, vocab_size: int) -> dict[str, np.ndarray]:
    """Return the columns of a batch, int32; an encoder's rows end in padding of up to a quarter of their length."""
    draw = np.random.default_rng(0)
    ids = draw.integers(5, vocab_size, (setting.rows, setting.length)).astype(np.int32)
    if setting.model_type in ("gpt2", "llama"):
        return {"input_ids": ids, "labels": ids}
    counts = draw.integers(3 * setting.length // 4, setting.length + 1, (setting.rows, 1))
    columns = {"input_ids": ids, "attention_mask": (np.arange(setting.length) < counts).astype(np.int32)}
    if setting.targets:
        labels = draw.integers(5, vocab_size, (setting.rows, setting.targets)).astype(np.int32)
        return {**columns, "labels": labels}
    starts = draw.integers(0, setting.length // 2, setting.rows).astype(np.int32)
    return {**columns, "start_positions": starts, "end_positions": starts + 3}


def make_start(setting: Setting, layers: Optional[int], dropout: float, folder: Path) -> None:
    """Write config.json and random weights."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)
    changes = {**setting.sizes, **dict.fromkeys(setting.dropouts, dropout)}
    if layers is not None:
        changes[setting.layers] = layers
    config = transformers.AutoConfig.for_model(setting.model_type, **changes)
    getattr(transformers, f"AutoModel{setting.head}").from_config(config).save_pretrained(folder)


def our_step(setting: Setting, folder: Path, compute_dtype: str) -> Callable[[], float]:
    """Return what takes a step here, as a run does, and returns its loss."""
    from dataclasses import replace

    import mindspore as ms

    from mindformers.catalog import REGISTRY
    from mindformers.models.auto import AutoConfig, class_name
    from mindformers.optim.adamw import AdamW
    from mindformers.optim.groups import decay_groups
    from mindformers.registry import MindFormerModuleType
    from mindformers.train.step import LossCell, TrainStep
    from mindformers.weights.folder import read_config
    from mindformers.weights.restore import load_weights

    ms.set_context(mode=ms.GRAPH_MODE)
    config = replace(AutoConfig.from_hf(read_config(folder)), compute_dtype=compute_dtype)
    model = REGISTRY.resolve(MindFormerModuleType.MODELS, class_name(config, setting.head))(config, fill=False)
    load_weights(model, folder, model.weight_map)
    model.set_train(True)
    columns = batch_of(setting, config.vocab_size)
    groups = decay_groups([item.name for item in model.trainable_params()], WEIGHT_DECAY)
    optimizer = AdamW(model.trainable_params(), LEARNING_RATE, groups=groups)
    step = TrainStep(LossCell(model, tuple(columns)), optimizer, MAX_NORM)
    batch = [ms.Tensor(column) for column in columns.values()]
    return lambda: step(*batch)[0].asnumpy().item()


def their_step(setting: Setting, folder: Path, compute_dtype: str) -> Callable[[], float]:
    """Return what takes a step there: autocast for bfloat16, PyTorch's fused AdamW."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    model = getattr(transformers, f"AutoModel{setting.head}").from_pretrained(folder, dtype=torch.float32).train()
    batch = {
        name: torch.tensor(column, dtype=torch.long)
        for name, column in batch_of(setting, model.config.vocab_size).items()
    }
    plain = [item for name, item in model.named_parameters() if name.endswith("bias") or "norm" in name.lower()]
    others = [item for item in model.parameters() if all(item is not other for other in plain)]
    groups = [{"params": plain, "weight_decay": 0.0}, {"params": others, "weight_decay": WEIGHT_DECAY}]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=LEARNING_RATE, fused=True)

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=compute_dtype == "bfloat16"):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), MAX_NORM)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return loss.item()

    return step


def serve(step: Callable[[], float], report: Any) -> None:
    """Take a step for every line of the standard input; report its seconds, loss, and the peak of memory."""
    for _ in sys.stdin:
        began = time.perf_counter()
        loss = step()
        seconds = time.perf_counter() - began
        status = Path("/proc/self/status").read_text()
        peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
        print(json.dumps({"seconds": seconds, "loss": loss, "peak_gb": peak / 2**20}), file=report, flush=True)


class Side:
    """A process that takes steps when it is asked."""

    def __init__(self, maker: str, compute_dtype: str, setting: str, folder: str, allocator: str = "default"):
        self.allocator, self.steps = allocator, []
        command = [sys.executable, __file__, "--serve", maker, "--compute_dtypes", compute_dtype]
        self.process = subprocess.Popen(
            [*command, "--settings", setting, "--folder", folder],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, **ALLOCATORS[allocator]},
        )

    def step(self) -> float:
        """Take a step; return its seconds."""
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of a side ended with exit status {self.process.wait()}")
        self.steps.append(json.loads(line))
        return self.steps[-1]["seconds"]

    def close(self) -> None:
        """End the process."""
        self.process.stdin.close()
        self.process.wait()

    def results(self) -> dict[str, Any]:
        """Return the median of the counted steps, the first one, the peak of memory, and all losses."""
        counted = [step["seconds"] for step in self.steps[1 + WARM_UP :]]
        return {
            "median_seconds": statistics.median(counted),
            "least_seconds": min(counted),
            "first_seconds": self.steps[0]["seconds"],
            "peak_gb": self.steps[-1]["peak_gb"],
            "allocator": self.allocator,
            "losses": [step["loss"] for step in self.steps],
        }


def started(maker: str, compute_dtype: str, setting: str, folder: str, allocators: Sequence[str]) -> Side:
    """Return a side that has warmed up, the one with the quickest of the allocators."""
    sides: list[tuple[float, Side]] = []
    for allocator in allocators:
        side = Side(maker, compute_dtype, setting, folder, allocator)
        warming = [side.step() for _ in range(1 + WARM_UP)]
        print(
            f"# {setting} {maker} {compute_dtype} {allocator}: {warming[0]:.1f} s, {warming[-1]:.2f} s", file=sys.stderr
        )
        sides.append((min(warming[1:]), side))
    sides.sort(key=lambda pair: pair[0])
    for _, slower in sides[1:]:
        slower.close()
    return sides[0][1]


def measure(setting: str, arguments: argparse.Namespace) -> dict[str, dict[str, Any]]:
    """Return the results of every side."""
    with tempfile.TemporaryDirectory() as folder:
        words = ["--serve", "start", "--folder", folder, "--settings", setting, f"--dropout={arguments.dropout}"]
        words += [f"--layers={arguments.layers}"] if arguments.layers is not None else []
        subprocess.run([sys.executable, __file__, *words], check=True)
        sides = {}
        ours = tuple((dtype, OURS, dtype) for dtype in arguments.compute_dtypes)
        for name, maker, dtype in (*ours, *THEIRS):
            allocators = ("default",) if maker == OURS else arguments.allocators
            sides[name] = started(maker, dtype, setting, folder, allocators)
            if arguments.one_by_one:
                take_turns([sides[name]], arguments.turns)
        if not arguments.one_by_one:
            take_turns(list(sides.values()), arguments.turns)
    return {name: side.results() for name, side in sides.items()}


def take_turns(sides: Sequence[Side], turns: int) -> None:
    """Let each side take so many steps, one in turn, and end them."""
    for _ in range(turns):
        for side in sides:
            side.step()
    for side in sides:
        side.close()


def lines_of(setting: str, results: dict[str, dict[str, Any]], compute_dtypes: Sequence[str]) -> Iterator[str]:
    """Yield the lines of the table: for each of our types how many times as fast, and as large, ours is."""
    for name, side in results.items():
        compared = ""
        for dtype in compute_dtypes if name not in compute_dtypes else ():
            ours = results[dtype]
            speed, memory = side["median_seconds"] / ours["median_seconds"], ours["peak_gb"] / side["peak_gb"]
            compared += f"{speed:7.2f} {memory:7.2f}"
        yield (
            f"{setting:10} {name:12} {side['median_seconds']:8.3f} {side['least_seconds']:8.3f} "
            f"{side['first_seconds']:8.1f} {side['peak_gb']:8.2f} {compared}  {side['allocator']}"
        )


def differing(results: dict[str, dict[str, Any]]) -> float:
    """Return the largest relative difference of the losses of our side and Hugging Face's in float32."""
    ours, theirs = (np.array(results[name]["losses"]) for name in ("float32", "hf_float32"))
    return float(np.abs(ours / theirs - 1).max())


def main(words: Optional[Sequence[str]] = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--settings", nargs="+", choices=SETTINGS, default=list(SETTINGS))
    parser.add_argument("--turns", type=int, default=5, help="counted steps of each side")
    parser.add_argument("--layers", type=int, help="in place of the model's own number")
    parser.add_argument("--dropout", type=float, default=0.1)
    types = ("float32", "bfloat16")
    parser.add_argument("--compute_dtypes", nargs="+", choices=types, default=list(types), help="of our side")
    parser.add_argument("--one_by_one", action="store_true", help="one process at a time")
    parser.add_argument("--allocators", nargs="+", choices=ALLOCATORS, default=list(ALLOCATORS), help="tried there")
    parser.add_argument("--output", help="file for the results as JSON")
    parser.add_argument("--serve", choices=("start", "mindformers", "hugging_face"), help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(words)
    if arguments.serve:
        setting = SETTINGS[arguments.settings[0]]
        if arguments.serve == "start":
            make_start(setting, arguments.layers, arguments.dropout, arguments.folder)
            return 0
        report = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # what libraries print is not part of the report
        make = our_step if arguments.serve == OURS else their_step
        serve(make(setting, arguments.folder, arguments.compute_dtypes[0]), report)
        return 0
    ratios = "   speed  memory" * len(arguments.compute_dtypes)
    print(f"{'setting':10} {'side':12} {'median s':>8} {'least s':>8} {'first s':>8} {'peak GB':>8}{ratios}")
    found, is_equal = {}, True
    for setting in arguments.settings:
        found[setting] = measure(setting, arguments)
        print(*lines_of(setting, found[setting], arguments.compute_dtypes), sep="\n", flush=True)
        if arguments.dropout == 0 and "float32" in arguments.compute_dtypes:
            difference = differing(found[setting])
            is_equal = is_equal and difference <= EQUAL
            print(f"{setting:10} losses differ by up to {difference:.1e}", flush=True)
    if arguments.output:
        Path(arguments.output).write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return 0 if is_equal else 1


if __name__ == "__main__":
    sys.exit(main())
