"""Time the cells of a layer on MindSpore's operators in float32 and on the CPU kernels in bfloat16; print a table.

    python scripts/bench/operators.py
    ... --rows 8 --length 384 --hidden 768 --heads 12 --repeat 7 --dropout 0.1 --output operators.json

Both are the same cells of mindformers.nn: the type of their input decides. Runs of the two take turns; printed are
medians, forward and backward together in milliseconds, with the share of the rate that one product alone reaches.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time

import mindspore as ms
import numpy as np
from mindspore import Tensor, nn, ops

from mindformers.arch.stacks import DecoderArch, EncoderArch
from mindformers.kernels import library
from mindformers.kernels.linear import Linear as Product
from mindformers.nn import functional
from mindformers.nn.attention import Attention
from mindformers.nn.dropout import DropoutNoise
from mindformers.nn.feed_forward import FeedForward, GatedFeedForward
from mindformers.nn.linear import Linear
from mindformers.nn.norm import LayerNorm, ResidualNorm


class Gradients(nn.Cell):
    """A cell's result and all its gradients; the noise of dropout is drawn anew each time."""

    def __init__(self, cell, arch, is_narrow, length):
        super().__init__()
        self.cell, self.is_narrow, self.length = cell, is_narrow, length
        self.noise = DropoutNoise(arch, 1, 0, is_narrow)
        self.drops = max(self.noise.rates) > 0.0
        self.gradient = ops.GradOperation(get_all=True, get_by_list=True, sens_param=True)
        self.weights = ms.ParameterTuple(cell.trainable_params())

    def run(self, x, key):
        noise = self.noise.tables(key, 0, x.shape[0], x.shape[1], 0) if self.drops else None
        inner = x.astype(ms.bfloat16) if self.is_narrow else x
        return self.cell(inner, x, noise).astype(ms.float32)

    def construct(self, x, grad):
        """Return the gradients."""
        return self.gradient(self.run, self.weights)(x, self.noise(), grad)


class OfLayer(nn.Cell):
    """A cell of a layer with the inputs that it takes."""

    def __init__(self, cell, kind, length):
        super().__init__()
        self.cell, self.kind = cell, kind
        self.key_bias = Tensor(np.zeros((1, 1, length, 1), np.float32))
        self.order = None if kind != "causal" else functional.causal_bias(length, length)
        self.is_narrow = False

    def construct(self, inner, x, noise):
        """Return the cell's result."""
        if self.kind == "attention":
            return self.cell(inner, inner, self.key_bias, noise=noise)
        if self.kind == "causal":
            order = None if inner.dtype == ms.bfloat16 else self.order
            return self.cell(inner, inner, self.key_bias, order, noise=noise)
        if self.kind == "residual":
            return self.cell(inner, x, noise)
        if self.kind == "norm":
            return self.cell(x, inner.dtype)
        return self.cell(inner, noise) if self.kind == "feed_forward" else self.cell(inner)


def cases(options):
    """Yield name, cell, arch, kind and the multiply-adds of the forward products."""
    size, length = options.hidden, options.length
    tokens = options.rows * length
    rates = {"hidden_dropout": options.dropout, "attention_dropout": options.dropout}
    sizes = {"hidden_size": size, "intermediate_size": 4 * size, "num_heads": options.heads, "num_layers": 1}
    encoder = EncoderArch(vocab_size=9, max_positions=length, **sizes, **rates)
    decoder = DecoderArch(vocab_size=9, max_positions=length, pre_norm=True, **sizes, **rates)
    score = 2 * options.rows * length * length * size
    yield "linear", Linear(size, size), encoder, "linear", tokens * size * size
    yield "feed-forward gelu", FeedForward(encoder, 0), encoder, "feed_forward", 8 * tokens * size * size
    gated = DecoderArch(vocab_size=9, max_positions=length, activation="silu", pre_norm=True, **sizes)
    yield "feed-forward gated", GatedFeedForward(gated, 0), gated, "feed_forward", 12 * tokens * size * size
    yield "attention", Attention(encoder, 0), encoder, "attention", 4 * tokens * size * size + score
    causal = Attention(decoder, 0, True, is_causal=True)
    yield "attention causal", causal, decoder, "causal", 4 * tokens * size * size + score // 2
    yield "residual norm", ResidualNorm(size, 1e-12, options.dropout, 0), encoder, "residual", 0
    yield "layer norm", LayerNorm(size, 1e-12), encoder, "norm", 0


def timed(run, *inputs) -> float:
    begin = time.perf_counter()
    for result in run(*inputs)[1]:
        result.asnumpy()
    return time.perf_counter() - begin


def peak(options) -> float:
    """Return the multiply-adds a second of one product of bfloat16."""
    rows, size = options.rows * options.length, options.hidden
    cell = Product(1, False)
    x, weight = Tensor(np.ones((rows, size), np.float32)), Tensor(np.ones((4 * size, size), np.float32))
    inputs = x.astype(ms.bfloat16), (weight,), ()
    times = []
    for _ in range(options.repeat):
        begin = time.perf_counter()
        cell(*inputs).astype(ms.float32).asnumpy()
        times.append(time.perf_counter() - begin)
    return 4 * rows * size * size / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("rows", 8), ("length", 384), ("hidden", 768), ("heads", 12), ("repeat", 7)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--dropout", type=float, default=0.1)
    parser.add_argument("--output")
    options = parser.parse_args()
    ms.set_context(mode=ms.GRAPH_MODE)
    ms.set_device("CPU")
    if not functional.has_kernels():
        raise SystemExit(
            "the kernels of bfloat16 cannot be used here; MINDFORMERS_KERNELS, a compiler, or the processor"
        )
    found = library.find()
    best = peak(options)
    print(
        f"{found.instruction_set}, oneDNN {found.onednn}, {found.threads} threads; one product {2e-9 * best:.0f} GF/s"
    )
    print(f"{'cell':<22}{'operators, float32':>20}{'kernels, bfloat16':>20}{'ratio':>8}{'of the product':>16}")
    draw = (
        np.random.default_rng(0).standard_normal((2, options.rows, options.length, options.hidden)).astype(np.float32)
    )
    x, grad = Tensor(draw[0]), Tensor(draw[1])
    table = []
    for name, cell, arch, kind, work in cases(options):
        cell.set_train()
        runs = [
            Gradients(OfLayer(cell, kind, options.length), arch, narrow, options.length) for narrow in (False, True)
        ]
        times: list = [[], []]
        for turn in range(options.repeat + 1):
            for run, kept in zip(runs, times):
                run.set_train()
                seconds = timed(run, x, grad)
                if turn:
                    kept.append(seconds)
        plain, fused = (statistics.median(kept) * 1e3 for kept in times)
        share = 3 * work / (fused * 1e-3) / best if work else None
        table.append({"cell": name, "operators_ms": plain, "kernels_ms": fused, "share_of_product": share})
        share_text = f"{share:15.0%}" if share else ""
        print(f"{name:<22}{plain:>20.1f}{fused:>20.1f}{plain / fused:>8.1f}{share_text:>16}", flush=True)
    if options.output:
        with open(options.output, "w", encoding="utf-8") as file:
            json.dump({"options": vars(options), "threads": found.threads, "table": table}, file, indent=1)


if __name__ == "__main__":
    main()
