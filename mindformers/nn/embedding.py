"""Tables that turn integers into vectors, and the foot of a stack made of them.

Shape suffixes: B batch, S sequence, V table rows, D hidden.
"""

from __future__ import annotations

from typing import Optional

from mindspore import Parameter, nn, ops
from mindspore import dtype as mstype
from mindspore.common.initializer import initializer

from mindformers.arch.stacks import StackArch
from mindformers.kernels import embedding as kernels
from mindformers.nn import functional
from mindformers.nn.dropout import AT_EMBEDDINGS, Dropout, FreshDropout
from mindformers.nn.linear import Linear, for_kernel
from mindformers.nn.norm import norm


class Embedding(nn.Cell):
    """A learned table [V, D]. The row `padding_id`, when given, never receives a gradient."""

    def __init__(self, num_rows: int, size: int, padding_id: Optional[int] = None):
        super().__init__()
        self.weight = Parameter(initializer("zeros", (num_rows, size)), name="weight")
        self.gather = ops.Gather()
        self.padding_id = padding_id
        self.kernel = kernels.Embedding(size, padding_id) if functional.has_kernels() else None

    def table(self):
        """Return the table for several uses in one pass; each may be given it again."""
        return for_kernel(self.weight) if self.kernel is not None else functional.readable(self.weight)

    def first(self, count):
        """Return the first rows, [count, D] float32."""
        if self.kernel is not None:
            return self.kernel(self.table(), ops.arange(count).astype(mstype.int32))
        return self.table()[:count].astype(mstype.float32)

    def construct(self, ids, table_VD=None):
        """Integer ids of any shape -> ids.shape + [D], float32."""
        table_VD = self.table() if table_VD is None else table_VD
        if self.kernel is not None:
            return self.kernel(table_VD, ids.astype(mstype.int32))
        rows = functional.embedding(table_VD, ids, self.gather)
        if self.padding_id is None:
            return rows
        is_padding = ops.broadcast_to(ops.equal(ids, self.padding_id).expand_dims(-1), rows.shape)
        return ops.select(is_padding, ops.stop_gradient(rows), rows)


class Embeddings(nn.Cell):
    """The foot of a stack: tokens + positions + segments, norm, dropout, projection; each where the family has it.

    Devlin et al. 2019, arXiv:1810.04805, figure 2; the projection is Lan et al. 2019, arXiv:1909.11942, section 3.1.
    """

    def __init__(self, arch: StackArch, dtype=mstype.float32):
        super().__init__()
        size = arch.table_size
        self.tokens = Embedding(arch.vocab_size, size, arch.frozen_row)
        self.padding_id = arch.pad_token_id if arch.padding_offsets_positions else None
        self.has_positions, self.has_types = arch.positions == "learned", arch.type_vocab_size > 0
        self.has_norm, self.has_project = arch.embedding_norm, arch.embedding_size is not None
        if self.has_positions:
            self.positions = Embedding(arch.max_positions, size, self.padding_id)
        if self.has_types:
            self.types = Embedding(arch.type_vocab_size, size)
        if self.has_norm:
            self.norm = norm(arch.norm, size, arch.norm_eps)
        if self.has_project:
            self.project = Linear(size, arch.hidden_size)
        as_hidden = arch.embedding_dropout == arch.hidden_dropout and size == arch.hidden_size
        rate = arch.embedding_dropout
        self.dropout = Dropout(rate, site=0) if as_hidden else FreshDropout(rate, AT_EMBEDDINGS)
        self.first_position = arch.pad_token_id + 1 if arch.padding_offsets_positions else 0
        self.max_positions = arch.max_positions
        self.dtype = dtype

    def construct(self, input_ids_BS, token_type_ids_BS=None, position_ids_BS=None, noise=None, table_VE=None):
        """Integer ids [B, S] -> [B, S, D]. Types default to 0, positions to 0..S-1 or to the count of real tokens."""
        summed_BSD = self.tokens(input_ids_BS, table_VE)
        if self.has_types:
            if token_type_ids_BS is None:
                summed_BSD = summed_BSD + self.types.first(1)
            else:
                summed_BSD = summed_BSD + self.types(token_type_ids_BS)
        if self.has_positions:
            summed_BSD = summed_BSD + self.position_vectors(input_ids_BS, position_ids_BS)
        if self.has_norm:
            summed_BSD = self.norm(summed_BSD)
        summed_BSD = self.dropout(summed_BSD.astype(self.dtype), noise)
        return self.project(summed_BSD) if self.has_project else summed_BSD

    def position_vectors(self, input_ids_BS, position_ids_BS):
        """Return [B, S, D] or [S, D] (a slice: cheaper than a gather). Raises ValueError for too long a sequence."""
        seq = input_ids_BS.shape[1]
        if seq + self.first_position > self.max_positions:
            raise ValueError(
                f"the sequence has {seq} tokens and the model {self.max_positions - self.first_position} positions: "
                f"shorten the sequences or use a model with more positions"
            )
        if position_ids_BS is None and self.padding_id is not None:
            is_token_BS = ops.not_equal(input_ids_BS, self.padding_id).astype(mstype.int32)
            position_ids_BS = ops.cumsum(is_token_BS, 1) * is_token_BS + self.padding_id
        if position_ids_BS is None:
            return self.positions.first(seq)
        return self.positions(position_ids_BS)
