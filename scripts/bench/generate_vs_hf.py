"""Time reading a prompt and writing tokens here and with Hugging Face; print medians, ratios, and whether tokens agree.

    python scripts/bench/generate_vs_hf.py
    ... --dtypes float32 bfloat16 int8 --batches 1 8 --prompt 64 --new 64 --rounds 5

GPT-2 with 124 million random weights, the same on all sides, on the CPU, greedy, no end token: here in every type that
is asked for, with Hugging Face in float32 and bfloat16, the better of which counts. All models live in one process and
take turns, round by round, so that whatever else the machine does meets all. A time for writing is the median over all
tokens of a round, without the first one. Tokens are compared in float32. Needs: pip install 'mindformers[oracle]'.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time

import numpy as np
import torch
import transformers

from mindformers import GPT2LMHeadModel
from mindformers.generation.generate import open_session


class Ours:
    def __init__(self, folder: str, dtype: str):
        computed = "float32" if dtype == "float32" else "bfloat16"
        self.model = GPT2LMHeadModel.from_pretrained(folder, dtype=dtype, compute_dtype=computed)
        self.session = None

    def start(self, prompts: np.ndarray, new: int) -> np.ndarray:
        if self.session is not None:
            self.session.close()  # gives its graphs back to the next round
        self.session = open_session(self.model, list(prompts), None, new, recompute=False)
        self.active = np.ones(len(prompts), bool)
        return self.session.start().argmax(-1)

    def advance(self, tokens: np.ndarray) -> np.ndarray:
        return self.session.advance(tokens, self.active).argmax(-1)


class HuggingFace:
    def __init__(self, folder: str, dtype: str):
        self.model = transformers.GPT2LMHeadModel.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()

    def start(self, prompts: np.ndarray, new: int) -> np.ndarray:
        return self._tokens(torch.tensor(prompts), None)

    def advance(self, tokens: np.ndarray) -> np.ndarray:
        return self._tokens(torch.tensor(tokens[:, None]), self.cache)

    def _tokens(self, ids: torch.Tensor, cache: object) -> np.ndarray:
        with torch.no_grad():
            output = self.model(ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        self.cache = output.past_key_values
        return output.logits[:, -1].argmax(-1).numpy()


def round_of(side: object, prompts: np.ndarray, new: int) -> tuple[float, list[float], np.ndarray]:
    """Return the seconds for the prompt, those of each further token, and the tokens."""
    begin = time.perf_counter()
    tokens = [side.start(prompts, new)]
    read, steps = time.perf_counter() - begin, []
    for _ in range(new - 1):
        begin = time.perf_counter()
        tokens.append(side.advance(tokens[-1]))
        steps.append(time.perf_counter() - begin)
    return read, steps, np.stack(tokens, 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16", "int8"], help="of the weights here")
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--prompt", type=int, default=64, help="tokens of each prompt")
    parser.add_argument("--new", type=int, default=64, help="tokens to write")
    parser.add_argument("--rounds", type=int, default=5, help="after one that warms up")
    given = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        transformers.GPT2LMHeadModel(transformers.GPT2Config()).save_pretrained(folder)
        sides: dict = {f"here, {dtype}": Ours(folder, dtype) for dtype in given.dtypes}
        theirs = {f"Hugging Face, {dtype}": HuggingFace(folder, dtype) for dtype in ("float32", "bfloat16")}
    sides |= theirs
    print(f"{'batch':>5} {'what':8} {'side':24} {'tokens/s':>9} {'over the better of Hugging Face':>8}")
    for batch in given.batches:
        prompts = np.random.default_rng(batch).integers(0, 50257, (batch, given.prompt)).astype(np.int32)
        reads: dict = {name: [] for name in sides}
        steps: dict = {name: [] for name in sides}
        written: dict = {}
        for turn in range(given.rounds + 1):
            for name, side in sides.items():
                read, each, written[name] = round_of(side, prompts, given.new)
                if turn:
                    reads[name].append(read)
                    steps[name].append(statistics.median(each))
        for what, count, seconds in (("prefill", batch * given.prompt, reads), ("decode", batch, steps)):
            speeds = {name: count / statistics.median(seconds[name]) for name in sides}
            best = max(speeds[name] for name in theirs)
            for name, speed in speeds.items():
                print(f"{batch:>5} {what:8} {name:24} {speed:9.1f} {speed / best:8.2f}", flush=True)
        if "here, float32" in sides:
            same = (written["here, float32"] == written["Hugging Face, float32"]).mean()
            print(f"{batch:>5} the same tokens in float32: {100 * same:.1f} %", flush=True)


if __name__ == "__main__":
    main()
