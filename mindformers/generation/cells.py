"""The graphs of generation: a model with its caches, compiled for a number of rows and a capacity.

Shape suffixes: B rows, T new tokens, S source tokens, V vocabulary.
"""

from __future__ import annotations

from mindspore import dtype as mstype
from mindspore import jit, nn, ops

from mindformers.nn.cached_layers import CachedLayers
from mindformers.nn.compiled import Compiled
from mindformers.nn.kv_cache import last_of


class Cached(Compiled):
    """A model and its decoder's `layers` with room for keys and values; sizes as of CachedLayers."""

    def __init__(self, model: nn.Cell, decoder: nn.Cell, *sizes: int):
        super().__init__(auto_prefix=False)
        self.model = model
        self.layers = CachedLayers(decoder.layers, model.arch, *sizes)

    @jit
    def reorder(self, rows_B):
        """Make row i continue row rows_B[i]."""
        return self.layers.reorder(rows_B)


class CachedDecoder(Cached):
    """A decoder that keeps keys and values; called with T tokens it is a prefill graph, with one the decode graph."""

    def __init__(self, model: nn.Cell, rows: int, capacity: int):
        super().__init__(model, model, rows, capacity)

    @jit
    def construct(self, input_ids_BT, start_B, count_B):
        """Return the next token's logits, float32 [B, V]; arguments as of `DecoderModel.extend`."""
        return self.model.extend(input_ids_BT, start_B, count_B, self.layers)


class CachedEncoderDecoder(Cached):
    """An encoder-decoder that keeps keys and values of the target, and those of the source computed once."""

    def __init__(self, model: nn.Cell, rows: int, capacity: int, source_capacity: int):
        super().__init__(model, model.decoder, rows, capacity, source_capacity)

    @jit
    def encode(self, source_ids_BS, source_count_B):
        """Compute and keep what the decoder reads of the sources; S is the capacity for them."""
        return self.model.remember(source_ids_BS, source_count_B, self.layers)

    @jit
    def construct(self, input_ids_BT, start_B, count_B, source_count_B):
        """Return the next token's logits, float32 [B, V]; arguments as of `EncoderDecoderModel.extend`."""
        return self.model.extend(input_ids_BT, start_B, count_B, self.layers, source_count_B)


class WholeDecoder(Compiled):
    """A decoder without a cache: every call computes the whole text."""

    def __init__(self, model: nn.Cell):
        super().__init__(auto_prefix=False)
        self.model = model

    @jit
    def construct(self, input_ids_BT, count_B):
        """Return the logits of the token that follows the first `count` of each row, float32 [B, V]."""
        length = input_ids_BT.shape[1]
        steps_1T = ops.arange(length).astype(mstype.int32).expand_dims(0)
        position_ids_BT = ops.minimum(ops.broadcast_to(steps_1T, input_ids_BT.shape), (count_B - 1).expand_dims(1))
        table_VE = self.model.embed.tokens.table()
        hidden_BTD = self.model.decode(input_ids_BT, None, position_ids_BT, None, table_VE)
        return self.model.head.logits(last_of(hidden_BTD, count_B), table_VE)


class WholeEncoderDecoder(Compiled):
    """An encoder-decoder without a cache: every call computes source and target."""

    def __init__(self, model: nn.Cell):
        super().__init__(auto_prefix=False)
        self.model = model

    @jit
    def construct(self, input_ids_BT, count_B, source_ids_BS, source_count_B):
        """Return the logits of the token that follows the first `count` of each target, float32 [B, V]."""
        steps_1S = ops.arange(source_ids_BS.shape[1]).astype(mstype.int32).expand_dims(0)
        mask_BS = ops.less(steps_1S, source_count_B.expand_dims(1)).astype(mstype.int32)
        table_VE = self.model.embed.tokens.table()
        memory_BSD, memory_bias = self.model.encode(source_ids_BS, mask_BS, None, table_VE)
        hidden_BTD = self.model.decode(input_ids_BT, None, memory_BSD, memory_bias, None, table_VE)
        return self.model.head.logits(last_of(hidden_BTD, count_B), table_VE)
