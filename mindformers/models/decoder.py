"""The decoder of every decoder-only family: embeddings, causal pre-norm layers, and what stands on them.

Shape suffixes: B batch, T tokens, D hidden, N heads.
"""

from __future__ import annotations

from typing import Optional

import mindspore as ms
from mindspore import Tensor, nn, ops
from mindspore import dtype as mstype

from mindformers.arch.stacks import DecoderArch
from mindformers.models.heads import check_targets
from mindformers.models.stack import check_arch, complete, padding_bias
from mindformers.nn import functional
from mindformers.nn.alibi import alibi_slopes
from mindformers.nn.block import PreNormBlock
from mindformers.nn.embedding import Embeddings
from mindformers.nn.kv_cache import last_of, new_slots
from mindformers.nn.norm import norm
from mindformers.nn.rope import RotaryAngles


class DecoderModel(nn.Cell):
    """A decoder built from `arch` (Radford et al. 2019; Touvron et al. 2023, arXiv:2302.13971).

    Parameter names are canonical paths; `seed` and `fill` as in `stack.complete`. Raises UsageError for sizes that do
    not fit together.
    """

    def __init__(
        self,
        arch: DecoderArch,
        compute_dtype: str = "float32",
        param_dtype: str = "float32",
        seed: Optional[int] = None,
        fill: bool = True,
    ):
        super().__init__()
        check_arch(arch)
        dtype = functional.compute_dtype(compute_dtype, ms.get_context("device_target"))
        self.embed = Embeddings(arch, functional.stream_dtype(dtype))
        self.layers = nn.CellList([PreNormBlock(arch, index, True, True, dtype) for index in range(arch.num_layers)])
        self.has_kernels = functional.has_kernels(dtype)
        self.norm_out = norm(arch.norm, arch.hidden_size, arch.norm_eps)
        self.is_placed = functional.is_placed()
        self.is_rotary, self.is_alibi = arch.positions == "rotary", arch.positions == "alibi"
        if self.is_rotary:
            self.angles = RotaryAngles(arch.rotary, arch.head_size)
        if self.is_alibi:
            self.slopes = Tensor(alibi_slopes(arch.num_heads).reshape(1, -1, 1, 1))
        complete(self, arch, arch.num_layers, seed, fill, param_dtype, dtype)

    def construct(
        self,
        input_ids,
        attention_mask=None,
        position_ids=None,
        labels=None,
        start_positions=None,
        end_positions=None,
        document_ids=None,
        dropout_keys=None,
    ):
        """Run a batch; all inputs are int32 or int64, [B, T] but for the targets of whole texts, [B].

        attention_mask is 1 for tokens and 0 for padding. With document_ids a token sees only its own document, tokens
        in a row with the same number, and positions start anew in each one. dropout_keys are those of
        `DropoutNoise.row_keys`. Returns float32: without a head hidden states [B, T, D], else what `models.heads` says:
        logits, or a scalar loss with targets.
        """
        check_targets(self.has_head, self.takes_labels, labels, start_positions, end_positions)
        noise = None
        if self.training and self.drops:
            noise = self.dropout.tables(self.dropout(dropout_keys), 0, input_ids.shape[0], input_ids.shape[1], 0)
        table_VE = self.embed.tokens.table()
        # MindSpore 2.10 loses a table that several stages use, beside a split optimizer, as an argument of the first.
        shared_VE = None if self.is_placed else table_VE
        hidden_BTD = self.decode(input_ids, attention_mask, position_ids, noise, shared_VE, document_ids)
        if self.has_head:
            return self.head(hidden_BTD, None, table_VE, input_ids, labels, start_positions, end_positions, noise)
        return hidden_BTD.astype(mstype.float32)

    def row_losses(self, input_ids, labels, attention_mask=None, position_ids=None, document_ids=None):
        """Return the sum of each row's token losses and their number, float32 [B]; inputs as in `construct`."""
        table_VE = self.embed.tokens.table()
        hidden_BTD = self.decode(input_ids, attention_mask, position_ids, None, table_VE, document_ids)
        return self.head.row_losses(hidden_BTD, table_VE, labels)

    def decode(self, input_ids_BT, attention_mask_BT, position_ids_BT, noise=None, table_VE=None, document_ids_BT=None):
        """Return the last hidden states, normed, [B, T, D] in the compute type."""
        batch, length = input_ids_BT.shape[0], input_ids_BT.shape[1]
        key_bias = padding_bias(attention_mask_BT, input_ids_BT)
        positions_1T = ops.arange(length).astype(mstype.int32).expand_dims(0)
        if document_ids_BT is None:
            score_bias = None if self.has_kernels else functional.causal_bias(length, length)
        else:
            score_bias, places_BT = functional.documents_bias(document_ids_BT)
            position_ids_BT = places_BT if position_ids_BT is None else position_ids_BT
        rotation = None
        if self.is_rotary:
            rotation = self.angles.first(length) if position_ids_BT is None else self.angles(position_ids_BT)
        if self.is_alibi:
            shape = (batch, self.slopes.shape[1], length, 1)
            distance = positions_1T.astype(mstype.float32).reshape(1, 1, -1, 1)
            # Position of the key instead of its distance: they differ by a constant in a row of scores (nn.alibi).
            key_bias = ops.broadcast_to(key_bias, shape) + ops.broadcast_to(self.slopes * distance, shape)
        x_BTD = self.embed(input_ids_BT, None, position_ids_BT, noise, table_VE)
        for layer in self.layers:
            x_BTD = layer(x_BTD, key_bias, score_bias, rotation, noise)
        return self.norm_out(x_BTD)

    def extend(self, input_ids_BT, start_B, count_B, layers):
        """Return the logits of the token that follows each row, float32 [B, V].

        The first `count` of a row's T tokens are real, and `start` stand before them, whose keys and values `layers`, a
        CachedLayers, holds; those of the new tokens are added.
        """
        slots_BT, positions_BT = new_slots(start_B, count_B, input_ids_BT.shape[1])
        rotation = self.angles(positions_BT) if self.is_rotary else None
        score_bias = None
        if self.is_alibi:
            score_bias = self.slopes * ops.arange(layers.capacity).astype(mstype.float32).reshape(1, 1, 1, -1)
        table_VE = self.embed.tokens.table()
        x_BTD = self.embed(input_ids_BT, None, positions_BT, None, table_VE)
        x_BTD = layers(x_BTD, slots_BT, score_bias, rotation)
        return self.head.logits(self.norm_out(last_of(x_BTD, count_B)), table_VE)
