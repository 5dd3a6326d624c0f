"""Time the cells of a layer on MindSpore's operators and on the CPU kernels in float32 and bfloat16; print a table.

    python scripts/bench/operators.py
    ... --rows 8 --length 384 --hidden 768 --heads 12 --repeat 7 --dropout 0.1 --output operators.json

All are the same cells of mindformers.nn, made without and with kernels. Runs take turns; printed are medians, forward
and backward together in milliseconds, and what share the kernels reach of the rate of one product alone, or, where
nothing is multiplied, of the rate at which a product of one row reads a table from memory. On a processor without fast
products of bfloat16 that column is left out. MINDFORMERS_ISA=avx2 with ONEDNN_MAX_CPU_ISA=AVX2 shows the kernels of a
lesser processor; operators then still use all that this one has.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from mindformers.arch.stacks import DecoderArch, EncoderArch
from mindformers.kernels import library
from mindformers.kernels.library import NOTHING
from mindformers.kernels.linear import Linear as Product
from mindformers.nn import functional
from mindformers.nn.attention import Attention
from mindformers.nn.dropout import DropoutNoise
from mindformers.nn.feed_forward import FeedForward, GatedFeedForward
from mindformers.nn.linear import Linear
from mindformers.nn.norm import LayerNorm, ResidualNorm

SIDES = {"operators": ms.float32, "float32": ms.float32, "bfloat16": ms.bfloat16}
"""Columns of the table, and what they compute in."""


class Gradients(nn.Cell):
    """The gradients of a cell's input and weights; the noise of dropout is drawn anew each time."""

    def __init__(self, cell, arch, dtype):
        super().__init__()
        self.cell, self.dtype = cell, dtype
        self.noise = DropoutNoise(arch, 1, 0)
        self.drops = max(self.noise.rates) > 0.0
        self.gradient = ops.GradOperation(get_by_list=True, sens_param=True)
        self.weights = ms.ParameterTuple(cell.trainable_params())

    def run(self, x, key):
        noise = self.noise.tables(key, 0, x.shape[0], x.shape[1], 0) if self.drops else None
        return self.cell(x.astype(self.dtype), x, noise).astype(ms.float32)

    def construct(self, x, grad):
        """Return the gradients."""
        return self.gradient(self.run, self.weights)(x, self.noise(), grad)


class OfLayer(nn.Cell):
    """A cell of a layer with the inputs that it takes."""

    def __init__(self, cell, kind, length):
        super().__init__()
        self.cell, self.kind = cell, kind
        self.key_bias = Tensor(np.zeros((1, 1, length, 1), np.float32))
        has_order = kind == "causal" and not functional.has_kernels()
        self.order = functional.causal_bias(length, length) if has_order else None

    def construct(self, inner, x, noise):
        """Return the cell's result."""
        if self.kind in ("attention", "causal"):
            return self.cell(inner, inner, self.key_bias, self.order, noise=noise)
        if self.kind == "residual":
            return self.cell(inner, x, noise)
        if self.kind == "norm":
            return self.cell(x, inner.dtype)
        return self.cell(inner, noise) if self.kind == "feed_forward" else self.cell(inner)


def cases(options, dtype):
    """Yield name, cell, arch, kind, the multiply-adds of the forward products, and numbers read and written if none."""
    size, length = options.hidden, options.length
    tokens = options.rows * length
    rates = {"hidden_dropout": options.dropout, "attention_dropout": options.dropout}
    sizes = {"hidden_size": size, "intermediate_size": 4 * size, "num_heads": options.heads, "num_layers": 1}
    encoder = EncoderArch(vocab_size=9, max_positions=length, **sizes, **rates)
    decoder = DecoderArch(vocab_size=9, max_positions=length, pre_norm=True, **sizes, **rates)
    score, numbers = 2 * options.rows * length * length * size, tokens * size
    yield "linear", Linear(size, size), encoder, "linear", tokens * size * size, 0
    yield "feed-forward gelu", FeedForward(encoder, 0, dtype), encoder, "feed_forward", 8 * tokens * size * size, 0
    gated = DecoderArch(vocab_size=9, max_positions=length, activation="silu", pre_norm=True, **sizes)
    yield "feed-forward gated", GatedFeedForward(gated, 0, dtype), gated, "feed_forward", 12 * tokens * size * size, 0
    yield "attention", Attention(encoder, 0, dtype=dtype), encoder, "attention", 4 * tokens * size * size + score, 0
    causal = Attention(decoder, 0, True, is_causal=True, dtype=dtype)
    yield "attention causal", causal, decoder, "causal", 4 * tokens * size * size + score // 2, 0
    yield "residual norm", ResidualNorm(size, 1e-12, options.dropout, 0), encoder, "residual", 0, 8 * numbers
    yield "layer norm", LayerNorm(size, 1e-12), encoder, "norm", 0, 5 * numbers


def runs_of(side, options):
    """Return name, what to time, its work and its traffic for every case of a side."""
    switch = "off" if side == "operators" else "on"
    os.environ[library.SWITCH] = switch
    library.find.cache_clear()
    made = []
    for name, cell, arch, kind, work, traffic in cases(options, SIDES[side]):
        run = Gradients(OfLayer(cell, kind, options.length), arch, SIDES[side])
        run.set_train()
        made.append((name, run, work, traffic))
    return made


def timed(run, *inputs) -> float:
    begin = time.perf_counter()
    for result in run(*inputs)[1]:
        result.asnumpy()
    return time.perf_counter() - begin


def peak(options, dtype) -> float:
    """Return the multiply-adds a second of one product of `dtype`."""
    rows, size = options.rows * options.length, options.hidden
    cell = Product(False)
    x, weight = Tensor(np.ones((rows, size), np.float32)), Tensor(np.ones((4 * size, size), np.float32))
    inputs = x.astype(dtype), weight, NOTHING
    times = []
    for _ in range(options.repeat):
        begin = time.perf_counter()
        cell(*inputs).astype(ms.float32).asnumpy()
        times.append(time.perf_counter() - begin)
    return 4 * rows * size * size / min(times)


def bandwidth(options) -> float:
    """Return the float32 numbers a second that are read from memory by a product of one row with a large table."""
    cell, size = Product(False), 1024
    x, table = Tensor(np.ones((1, size), np.float32)), Tensor(np.ones((1 << 16, size), np.float32))
    times = []
    for _ in range(options.repeat):
        begin = time.perf_counter()
        cell(x, table, NOTHING).asnumpy()
        times.append(time.perf_counter() - begin)
    return table.size / min(times)


def medians(runs, repeat, *inputs):
    """Return the median time of each run in milliseconds; runs take turns, the first turn does not count."""
    times: list = [[] for _ in runs]
    for turn in range(repeat + 1):
        for run, kept in zip(runs, times):
            seconds = timed(run, *inputs)
            if turn:
                kept.append(seconds)
    return [statistics.median(kept) * 1e3 for kept in times]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 8), ("length", 384), ("hidden", 768), ("heads", 12), ("repeat", 7)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--output")
    options = parser.parse_args()
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    names = [side for side in SIDES if side != "bfloat16" or functional.has_kernels(ms.bfloat16)]
    sides = {side: runs_of(side, options) for side in names}
    if not functional.has_kernels():
        raise SystemExit("the kernels cannot be used here; the log says why")
    found, of_kernels = library.find(), names[1:]
    best, read = {side: peak(options, SIDES[side]) for side in of_kernels}, bandwidth(options)
    rates = ", ".join(f"{2e-9 * best[side]:.0f} GF/s in {side}" for side in of_kernels)
    print(f"{found.instruction_set}, oneDNN {found.onednn}, {found.threads} threads")
    print(f"one product {rates}; memory {4e-9 * read:.0f} GB/s")
    print(f"{'cell':<22}" + "".join(f"{side:>12}" for side in names) + f"{'of the limit':>20}")
    draw = np.random.default_rng(0).standard_normal((2, options.rows, options.length, options.hidden))
    x, grad = (Tensor(numbers.astype(np.float32)) for numbers in draw)
    table = []
    for same in zip(*sides.values()):
        name, _, work, traffic = same[0]
        times = dict(zip(names, medians([run for _, run, _, _ in same], options.repeat, x, grad)))
        limits = {side: 3 * work / best[side] if work else traffic / read for side in of_kernels}
        shares = {side: limit / (times[side] * 1e-3) for side, limit in limits.items()}
        table.append({"cell": name, "milliseconds": times, "share_of_limit": shares})
        text = "".join(f"{share:10.0%}" for share in shares.values())
        print(f"{name:<22}" + "".join(f"{milliseconds:>12.1f}" for milliseconds in times.values()) + text, flush=True)
    if options.output:
        with open(options.output, "w", encoding="utf-8") as file:
            json.dump({"options": vars(options), "threads": found.threads, "table": table}, file, indent=1)


if __name__ == "__main__":
    main()
