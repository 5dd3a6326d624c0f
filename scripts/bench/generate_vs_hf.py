"""Time reading a prompt and writing tokens here and with Hugging Face; print medians, ratios, and whether tokens agree.

    python scripts/bench/generate_vs_hf.py
    ... --batches 1 8 --prompt 64 --new 64 --rounds 5

GPT-2 with 124 million random weights, the same on both sides, float32 on the CPU, greedy, no end token. Both models
live in one process and take turns, round by round, so that whatever else the machine does meets both. A time for
writing is the median over all tokens of a round, without the first one. Needs: pip install 'mindformers[oracle]'.
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
    def __init__(self, folder: str):
        self.model = GPT2LMHeadModel.from_pretrained(folder)
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
    def __init__(self, folder: str):
        self.model = transformers.GPT2LMHeadModel.from_pretrained(folder).eval()

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
    parser.add_argument("--batches", type=int, nargs="+", default=[1, 8])
    parser.add_argument("--prompt", type=int, default=64, help="tokens of each prompt")
    parser.add_argument("--new", type=int, default=64, help="tokens to write")
    parser.add_argument("--rounds", type=int, default=5, help="after one that warms up")
    given = parser.parse_args()
    torch.manual_seed(0)
    with tempfile.TemporaryDirectory() as folder:
        transformers.GPT2LMHeadModel(transformers.GPT2Config()).save_pretrained(folder)
        sides = {"mindformers": Ours(folder), "hugging_face": HuggingFace(folder)}
    print(f"{'batch':>5} {'what':8} {'mindformers':>14} {'hugging_face':>14} {'ratio':>6}   tokens per second, medians")
    for batch in given.batches:
        prompts = np.random.default_rng(batch).integers(0, 50257, (batch, given.prompt)).astype(np.int32)
        reads: dict = {name: [] for name in sides}
        steps: dict = {name: [] for name in sides}
        agree = []
        for turn in range(given.rounds + 1):
            written = {}
            for name, side in sides.items():
                read, each, written[name] = round_of(side, prompts, given.new)
                if turn:
                    reads[name].append(read)
                    steps[name].append(statistics.median(each))
            agree.append((written["mindformers"] == written["hugging_face"]).mean())
        for what, count, seconds in (("prefill", batch * given.prompt, reads), ("decode", batch, steps)):
            ours, theirs = (count / statistics.median(seconds[name]) for name in sides)
            print(f"{batch:>5} {what:8} {ours:14.1f} {theirs:14.1f} {ours / theirs:6.2f}", flush=True)
        print(f"{batch:>5} the same tokens: {100 * min(agree):.1f} %", flush=True)


if __name__ == "__main__":
    main()
