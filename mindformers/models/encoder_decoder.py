"""The encoder-decoder: two stacks over one token table, the second attending to the first.

Shape suffixes: B batch, S source tokens, T target tokens, D hidden, N heads.
"""

from __future__ import annotations

from typing import Optional

import mindspore as ms
from mindspore import dtype as mstype
from mindspore import nn, ops

from mindformers.arch.stacks import EncoderDecoderArch
from mindformers.models.heads import IGNORED, check_targets
from mindformers.models.stack import check_arch, complete, padding_bias
from mindformers.nn import functional
from mindformers.nn.block import CrossBlock, PreNormBlock
from mindformers.nn.dropout import SUBLAYERS, Dropout
from mindformers.nn.embedding import Embeddings
from mindformers.nn.kv_cache import last_of, new_slots, slot_bias
from mindformers.nn.norm import norm
from mindformers.nn.relative_bias import RelativeBias


class Half(nn.Cell):
    """One of the two stacks: relative positions, layers, output norm. Its layers share one table of positions."""

    def __init__(self, arch: EncoderDecoderArch, is_decoder: bool, dtype=mstype.float32):
        super().__init__()
        num_layers = arch.num_decoder_layers if is_decoder else arch.num_layers
        block = CrossBlock if is_decoder else PreNormBlock
        self.relative = RelativeBias(arch.num_heads, not is_decoder, arch.num_buckets, arch.max_distance)
        self.layers = nn.CellList([block(arch, index, True, is_decoder, dtype) for index in range(num_layers)])
        self.states_order = is_decoder and not functional.has_kernels(dtype)
        self.norm_out = norm(arch.norm, arch.hidden_size, arch.norm_eps)
        self.dropout = Dropout(arch.hidden_dropout, SUBLAYERS * num_layers + 1)
        self.is_decoder = is_decoder
        self.swap = ops.Transpose()

    def construct(self, x_BTD, key_bias, memory_BSD=None, memory_bias=None, noise=None):
        """[B, T, D] -> [B, T, D]; a decoder also takes the encoder's output and the bias that hides its padding."""
        length = x_BTD.shape[1]
        positions_T = ops.arange(length).astype(mstype.int32)
        score_bias = self.relative(positions_T, positions_T)
        if self.states_order:
            score_bias = score_bias + ops.broadcast_to(functional.causal_bias(length, length), score_bias.shape)
        for layer in self.layers:
            if self.is_decoder:
                x_BTD = layer(x_BTD, key_bias, score_bias, memory_BSD, memory_bias, noise)
            else:
                x_BTD = layer(x_BTD, key_bias, score_bias, None, noise)
        return self.dropout(self.norm_out(x_BTD), noise)

    def extend(self, x_BTD, slots_BT, layers, memory_bias):
        """As `construct` of a decoder for the newest tokens, before the output norm; arguments as of `layers`."""
        batch, length = slots_BT.shape
        distance_bias = self.relative(slots_BT.reshape(-1), ops.arange(layers.capacity).astype(mstype.int32))
        bias_BNTC = self.swap(distance_bias.reshape(-1, batch, length, layers.capacity), (1, 0, 2, 3))
        return layers(x_BTD, slots_BT, bias_BNTC, None, memory_bias)


class EncoderDecoderModel(nn.Cell):
    """An encoder-decoder built from `arch` (Raffel et al. 2020, arXiv:1910.10683); parameter names are canonical paths.

    `seed` and `fill` as in `stack.complete`. Raises UsageError for sizes that do not fit together.
    """

    def __init__(
        self,
        arch: EncoderDecoderArch,
        compute_dtype: str = "float32",
        param_dtype: str = "float32",
        seed: Optional[int] = None,
        fill: bool = True,
    ):
        super().__init__()
        check_arch(arch)
        dtype = functional.compute_dtype(compute_dtype, ms.get_context("device_target"))
        self.embed = Embeddings(arch, functional.stream_dtype(dtype))
        self.encoder = Half(arch, False, dtype)
        self.decoder = Half(arch, True, dtype)
        self.pad_token_id = arch.pad_token_id or 0
        self.start_token_id = arch.decoder_start_token_id
        complete(self, arch, max(arch.num_layers, arch.num_decoder_layers), seed, fill, param_dtype, dtype)

    def construct(
        self,
        input_ids,
        attention_mask=None,
        decoder_input_ids=None,
        decoder_attention_mask=None,
        labels=None,
        dropout_keys=None,
    ):
        """Run a batch of sources [B, S] and targets [B, T], int32 or int64.

        attention_mask is 1 for tokens and 0 for padding. Without decoder_input_ids the labels, shifted by one behind
        the start token, are the decoder's input. dropout_keys are those of `DropoutNoise.row_keys`. Returns float32:
        without a head the decoder's hidden states [B, T, D], else logits [B, T, V], or with labels the scalar loss.
        """
        check_targets(self.has_head, self.takes_labels, labels, None, None)
        if decoder_input_ids is None:
            if labels is None:
                raise ValueError("the decoder has no input: give decoder_input_ids, or labels")
            decoder_input_ids = self.shifted_right(labels)
        key = None
        if self.training and self.drops:
            key = self.dropout(dropout_keys)
        table_VE = self.embed.tokens.table()
        memory_BSD, memory_bias = self.encode(input_ids, attention_mask, key, table_VE)
        hidden_BTD = self.decode(decoder_input_ids, decoder_attention_mask, memory_BSD, memory_bias, key, table_VE)
        if self.has_head:
            return self.head(hidden_BTD, None, table_VE, decoder_input_ids, labels, None, None, None)
        return hidden_BTD.astype(mstype.float32)

    def encode(self, input_ids_BS, attention_mask_BS, key=None, table_VE=None):
        """Return the encoder's output [B, S, D] and the bias [B, 1, S, 1] that hides its padding."""
        noise = None
        if key is not None:
            noise = self.dropout.tables(key, 0, input_ids_BS.shape[0], input_ids_BS.shape[1], 0)
        bias_B1S1 = padding_bias(attention_mask_BS, input_ids_BS)
        x_BSD = self.embed(input_ids_BS, None, None, noise, table_VE)
        return self.encoder(x_BSD, bias_B1S1, noise=noise), bias_B1S1

    def decode(self, input_ids_BT, attention_mask_BT, memory_BSD, memory_bias, key=None, table_VE=None):
        """Return the decoder's output, normed, [B, T, D]."""
        noise = None
        if key is not None:
            noise = self.dropout.tables(key, 1, input_ids_BT.shape[0], input_ids_BT.shape[1], memory_BSD.shape[1])
        x_BTD = self.embed(input_ids_BT, None, None, noise, table_VE)
        return self.decoder(x_BTD, padding_bias(attention_mask_BT, input_ids_BT), memory_BSD, memory_bias, noise)

    def remember(self, input_ids_BS, count_B, layers):
        """Encode sources of `count` real tokens and keep what the decoder reads of them in `layers`, a CachedLayers."""
        length = input_ids_BS.shape[1]
        mask_BS = ops.less(ops.arange(length).astype(mstype.int32).expand_dims(0), count_B.expand_dims(1))
        memory_BSD, _ = self.encode(input_ids_BS, mask_BS.astype(mstype.int32))
        return layers.remember(memory_BSD)

    def extend(self, input_ids_BT, start_B, count_B, layers, source_count_B):
        """Return the logits of the token that follows each row, float32 [B, V]; as `DecoderModel.extend`."""
        memory_bias = slot_bias((source_count_B - 1).expand_dims(1), layers.source_capacity)
        slots_BT, _ = new_slots(start_B, count_B, input_ids_BT.shape[1])
        table_VE = self.embed.tokens.table()
        x_BTD = self.embed(input_ids_BT, None, None, None, table_VE)
        hidden_BTD = self.decoder.extend(x_BTD, slots_BT, layers, memory_bias)
        return self.head.logits(self.decoder.norm_out(last_of(hidden_BTD, count_B)), table_VE)

    def shifted_right(self, labels_BT):
        """Return the decoder's input for labels: the start token, then all but the last; -100 becomes padding."""
        start_B1 = ops.full((labels_BT.shape[0], 1), self.start_token_id, dtype=mstype.int32)
        tokens_BT = ops.concat((start_B1, labels_BT[:, :-1].astype(mstype.int32)), 1)
        return ops.select(ops.equal(tokens_BT, IGNORED), ops.full_like(tokens_BT, self.pad_token_id), tokens_BT)
