"""The encoder of every encoder-only family: embeddings, post-norm layers, and what stands on them.

Shape suffixes: B batch, S sequence, D hidden.
"""

from __future__ import annotations

from typing import Optional

import mindspore as ms
from mindspore import dtype as mstype
from mindspore import nn, ops

from mindformers.arch.stacks import EncoderArch, positive_fields
from mindformers.errors import UsageError
from mindformers.models.heads import SpanHead, span_loss
from mindformers.nn import functional
from mindformers.nn.block import PostNormBlock
from mindformers.nn.dropout import DropoutNoise
from mindformers.nn.embedding import EmbeddingSum
from mindformers.nn.init import initialize
from mindformers.nn.linear import Linear


class EncoderModel(nn.Cell):
    """An encoder built from `arch` (Devlin et al. 2019, arXiv:1810.04805); parameter names are canonical paths.

    `seed` decides the first weights and the dropout masks; by default the one of mindspore.set_seed, or 0.
    With `fill=False` parameters stay zero, for a caller that loads all of them.
    The counter of the dropout masks is a further parameter, `dropout.state`, that no optimizer touches.

    Raises UsageError for sizes that do not fit together.
    """

    def __init__(
        self, arch: EncoderArch, compute_dtype: str = "float32", seed: Optional[int] = None, fill: bool = True
    ):
        super().__init__()
        problem = positive_fields(arch)
        if problem:
            raise UsageError(problem)
        self.arch = arch
        self.seed = (ms.get_seed() or 0) if seed is None else seed
        dtype = functional.compute_dtype(compute_dtype, ms.get_context("device_target"))
        self.embed = EmbeddingSum(arch, site=0, dtype=dtype)
        self.layers = nn.CellList([PostNormBlock(arch, index) for index in range(arch.num_layers)])
        self.head_kind = arch.head
        if arch.head == "pooler":
            self.pooler = Linear(arch.hidden_size, arch.hidden_size)
        elif arch.head == "question_answering":
            self.head = SpanHead(arch.hidden_size)
        self.drops = arch.hidden_dropout > 0 or arch.attention_dropout > 0
        # Also without dropout, so that a checkpoint fits the model whatever the rates of the next run are.
        self.dropout = DropoutNoise(
            arch.hidden_size, arch.num_heads, arch.num_layers, arch.hidden_dropout, arch.attention_dropout, self.seed
        )
        if fill:
            initialize(self, arch, self.seed)
        self.set_train(False)

    def construct(
        self,
        input_ids,
        attention_mask=None,
        token_type_ids=None,
        position_ids=None,
        labels=None,
        start_positions=None,
        end_positions=None,
    ):
        """Encode a batch; all inputs are int32 or int64, [B, S] but for the positions of an answer, [B].

        attention_mask is 1 for tokens and 0 for padding. Returns float32, by head:
        "none": hidden states [B, S, D]; "pooler": (hidden states, pooled [B, D]);
        "question_answering": (start logits, end logits), each [B, S], or with start_positions and end_positions
        the scalar loss (heads.span_loss).
        """
        if labels is not None:
            raise ValueError(
                "labels were given to a model whose head does not use them; "
                "a question answering model takes start_positions and end_positions"
            )
        hidden_BSD = self.encode(input_ids, attention_mask, token_type_ids, position_ids)
        if self.head_kind == "question_answering":
            return self.answer(hidden_BSD, start_positions, end_positions)
        if start_positions is not None or end_positions is not None:
            raise ValueError("start_positions and end_positions need a model with a question answering head")
        if self.head_kind == "pooler":
            return hidden_BSD, functional.tanh(self.pooler(hidden_BSD[:, 0]))
        return hidden_BSD

    def encode(self, input_ids_BS, attention_mask_BS, token_type_ids_BS, position_ids_BS):
        """Return the last hidden states, float32 [B, S, D]."""
        noise = None
        if self.training and self.drops:
            noise = self.dropout(input_ids_BS.shape[0], input_ids_BS.shape[1])
        if attention_mask_BS is None:
            attention_mask_BS = ops.ones_like(input_ids_BS)
        bias_B1S1 = functional.attention_bias(attention_mask_BS)
        x_BSD = self.embed(input_ids_BS, token_type_ids_BS, position_ids_BS, noise)
        for layer in self.layers:
            x_BSD = layer(x_BSD, bias_B1S1, noise)
        return x_BSD.astype(mstype.float32)

    def answer(self, hidden_BSD, start_positions, end_positions):
        """Return start and end logits, or the loss when both positions are given."""
        start_logits_BS, end_logits_BS = self.head(hidden_BSD)
        if start_positions is None and end_positions is None:
            return start_logits_BS, end_logits_BS
        if start_positions is None or end_positions is None:
            raise ValueError("the loss needs both start_positions and end_positions")
        return span_loss(start_logits_BS, end_logits_BS, start_positions, end_positions)
