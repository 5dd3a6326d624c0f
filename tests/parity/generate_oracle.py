"""What Hugging Face's `generate` writes with the weights of a case."""

import numpy as np
import torch

from tests.parity.family_cases import tensor
from tests.parity.family_oracle import _alibi, _unpacked, build


class Oracle:
    """The PyTorch model of a case, filled."""

    def __init__(self, case):
        torch.set_num_threads(1)  # on tiny models more threads only wait for each other
        self.model, shapes = build(case)
        leaves = {key: torch.tensor(tensor(key, shape)) for key, shape in shapes.items()}
        self.model.load_state_dict(_unpacked(case, leaves), strict=False)
        self.is_t5 = case.config["model_type"] == "t5"
        self.is_alibi = case.config.get("position_embedding") == "alibi"
        if self.is_alibi:
            self._give_distances(case.config["num_attention_heads"])

    def _give_distances(self, num_heads):
        """Let a LLaMA see ALiBi as a mask, from the whole text each time."""
        plain = self.model.forward

        def forward(input_ids, attention_mask=None, **others):
            attention_mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
            bias, positions = _alibi({"attention_mask": attention_mask.numpy()}, num_heads)
            return plain(input_ids=input_ids, attention_mask=bias, position_ids=positions, use_cache=False)

        self.model.forward = forward

    def write(self, rows, count, use_cache=True, **options):
        """Return the new tokens of each row, int64; prompts of unequal length are padded on the left."""
        width = max(map(len, rows))
        ids, mask = np.zeros((len(rows), width), np.int64), np.zeros((len(rows), width), np.int64)
        for index, row in enumerate(rows):
            ids[index, width - len(row) :], mask[index, width - len(row) :] = row, 1
        options = {"eos_token_id": None, "do_sample": False, "pad_token_id": 0, **options}
        if self.is_t5:  # transformers 5 makes as many caches as the encoder has layers
            ids, mask = np.stack([np.roll(row, -int((1 - on).sum())) for row, on in zip(ids, mask)]), -np.sort(-mask)
        found = self.model.generate(
            input_ids=torch.tensor(ids),
            attention_mask=torch.tensor(mask),
            max_new_tokens=count,
            use_cache=use_cache and not self.is_t5 and not self.is_alibi,
            **options,
        )
        return found[:, 1 if self.is_t5 else width :].numpy()
