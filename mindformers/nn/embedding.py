"""Tables that turn integers into vectors, and their sum at the foot of an encoder.

Shape suffixes: B batch, S sequence, V table rows, D hidden.
"""

from __future__ import annotations

from typing import Optional

from mindspore import Parameter, nn, ops
from mindspore import dtype as mstype
from mindspore.common.initializer import initializer

from mindformers.arch.stacks import EncoderArch
from mindformers.nn import functional
from mindformers.nn.dropout import Dropout
from mindformers.nn.norm import LayerNorm


class Embedding(nn.Cell):
    """A learned table [V, D]. The row `padding_id`, when given, never receives a gradient."""

    def __init__(self, num_rows: int, size: int, padding_id: Optional[int] = None):
        super().__init__()
        self.weight = Parameter(initializer("zeros", (num_rows, size)), name="weight")
        self.padding_id = padding_id

    def construct(self, ids):
        """Integer ids of any shape -> ids.shape + [D], float32."""
        rows = functional.embedding(self.weight, ids)
        if self.padding_id is None:
            return rows
        is_padding = ops.broadcast_to(ops.equal(ids, self.padding_id).expand_dims(-1), rows.shape)
        return ops.select(is_padding, ops.stop_gradient(rows), rows)


class EmbeddingSum(nn.Cell):
    """Token + position + segment vectors, normed and dropped out (Devlin et al. 2019, arXiv:1810.04805, figure 2)."""

    def __init__(self, arch: EncoderArch, site: int, dtype=mstype.float32):
        super().__init__()
        self.tokens = Embedding(arch.vocab_size, arch.hidden_size, arch.pad_token_id)
        self.positions = Embedding(arch.max_positions, arch.hidden_size)
        self.types = Embedding(arch.type_vocab_size, arch.hidden_size)
        self.norm = LayerNorm(arch.hidden_size, arch.norm_eps)
        self.dropout = Dropout(arch.hidden_dropout, site)
        self.max_positions = arch.max_positions
        self.dtype = dtype

    def construct(self, input_ids_BS, token_type_ids_BS=None, position_ids_BS=None, noise=None):
        """Integer ids [B, S] -> [B, S, D]. Types default to 0, positions to 0..S-1 (a slice: cheaper than a gather)."""
        seq = input_ids_BS.shape[1]
        if seq > self.max_positions:
            raise ValueError(
                f"the sequence has {seq} tokens and the model {self.max_positions} positions: "
                f"shorten the sequences or use a model with more positions"
            )
        summed_BSD = self.tokens(input_ids_BS)
        if token_type_ids_BS is None:
            summed_BSD = summed_BSD + self.types.weight[0]
        else:
            summed_BSD = summed_BSD + self.types(token_type_ids_BS)
        if position_ids_BS is None:
            summed_BSD = summed_BSD + self.positions.weight[:seq]
        else:
            summed_BSD = summed_BSD + self.positions(position_ids_BS)
        return self.dropout(self.norm(summed_BSD).astype(self.dtype), noise)
