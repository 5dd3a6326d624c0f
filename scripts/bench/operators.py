"""Time the cells of a layer on MindSpore's operators and on the CPU kernels in float32 and bfloat16; print a table.

    python scripts/bench/operators.py
    ... --rows 8 --length 384 --hidden 768 --heads 12 --repeat 7 --dropout 0.1 --output operators.json

All are the same cells of mindformers.nn, made without and with kernels. Runs take turns; printed are medians, forward
and backward together in milliseconds, and what share of the rate of one product alone the kernels reach.
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
    """Yield name, cell, arch, kind and the multiply-adds of the forward products."""
    size, length = options.hidden, options.length
    tokens = options.rows * length
    rates = {"hidden_dropout": options.dropout, "attention_dropout": options.dropout}
    sizes = {"hidden_size": size, "intermediate_size": 4 * size, "num_heads": options.heads, "num_layers": 1}
    encoder = EncoderArch(vocab_size=9, max_positions=length, **sizes, **rates)
    decoder = DecoderArch(vocab_size=9, max_positions=length, pre_norm=True, **sizes, **rates)
    score = 2 * options.rows * length * length * size
    yield "linear", Linear(size, size), encoder, "linear", tokens * size * size
    yield "feed-forward gelu", FeedForward(encoder, 0, dtype), encoder, "feed_forward", 8 * tokens * size * size
    gated = DecoderArch(vocab_size=9, max_positions=length, activation="silu", pre_norm=True, **sizes)
    yield "feed-forward gated", GatedFeedForward(gated, 0, dtype), gated, "feed_forward", 12 * tokens * size * size
    yield "attention", Attention(encoder, 0, dtype=dtype), encoder, "attention", 4 * tokens * size * size + score
    causal = Attention(decoder, 0, True, is_causal=True, dtype=dtype)
    yield "attention causal", causal, decoder, "causal", 4 * tokens * size * size + score // 2
    yield "residual norm", ResidualNorm(size, 1e-12, options.dropout, 0), encoder, "residual", 0
    yield "layer norm", LayerNorm(size, 1e-12), encoder, "norm", 0


def runs_of(side, options):
    """Return name, what to time and its work for every case of a side."""
    switch = "off" if side == "operators" else "on"
    os.environ[library.SWITCH] = switch
    library.find.cache_clear()
    made = []
    for name, cell, arch, kind, work in cases(options, SIDES[side]):
        run = Gradients(OfLayer(cell, kind, options.length), arch, SIDES[side])
        run.set_train()
        made.append((name, run, work))
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
    sides = {side: runs_of(side, options) for side in SIDES}
    if not functional.has_kernels(ms.bfloat16):
        raise SystemExit("the kernels of bfloat16 cannot be used here: a compiler or the processor")
    found = library.find()
    best = {side: peak(options, dtype) for side, dtype in SIDES.items()}
    rates = ", ".join(f"{2e-9 * best[side]:.0f} GF/s in {side}" for side in ("float32", "bfloat16"))
    print(f"{found.instruction_set}, oneDNN {found.onednn}, {found.threads} threads; one product {rates}")
    print(f"{'cell':<22}" + "".join(f"{side:>12}" for side in SIDES) + f"{'of the product':>20}")
    draw = np.random.default_rng(0).standard_normal((2, options.rows, options.length, options.hidden))
    x, grad = (Tensor(numbers.astype(np.float32)) for numbers in draw)
    table = []
    for same in zip(*sides.values()):
        name, _, work = same[0]
        times = dict(zip(SIDES, medians([run for _, run, _ in same], options.repeat, x, grad)))
        shares = {side: 3 * work / (times[side] * 1e-3) / best[side] for side in ("float32", "bfloat16") if work}
        table.append({"cell": name, "milliseconds": times, "share_of_product": shares})
        text = "".join(f"{share:10.0%}" for share in shares.values())
        print(f"{name:<22}" + "".join(f"{milliseconds:>12.1f}" for milliseconds in times.values()) + text, flush=True)
    if options.output:
        with open(options.output, "w", encoding="utf-8") as file:
            json.dump({"options": vars(options), "threads": found.threads, "table": table}, file, indent=1)


if __name__ == "__main__":
    main()
