"""The encoder of every encoder-only family: embeddings, post-norm layers, and what stands on them.

Shape suffixes: B batch, S sequence, D hidden.
"""

from __future__ import annotations

from typing import Optional

import mindspore as ms
from mindspore import dtype as mstype
from mindspore import nn

from mindformers.arch.stacks import EncoderArch
from mindformers.models.heads import at_positions, check_masked, check_targets
from mindformers.models.stack import check_arch, complete, padding_bias
from mindformers.nn import functional
from mindformers.nn.block import PostNormBlock
from mindformers.nn.dropout import shifted
from mindformers.nn.embedding import Embeddings


class EncoderModel(nn.Cell):
    """An encoder built from `arch` (Devlin et al. 2019, arXiv:1810.04805); parameter names are canonical paths.

    `seed` and `fill` as in `stack.complete`. The counter of the dropout masks is a further parameter, `dropout.state`,
    that no optimizer touches. Raises UsageError for sizes that do not fit together.
    """

    def __init__(
        self,
        arch: EncoderArch,
        compute_dtype: str = "float32",
        param_dtype: str = "float32",
        seed: Optional[int] = None,
        fill: bool = True,
    ):
        super().__init__()
        check_arch(arch)
        dtype = functional.compute_dtype(compute_dtype, ms.get_context("device_target"))
        self.embed = Embeddings(arch, functional.stream_dtype(dtype))
        distinct = arch.num_layers if arch.distinct_layers is None else arch.distinct_layers
        self.layers = nn.CellList([PostNormBlock(arch, index, dtype) for index in range(distinct)])
        self.layer_order = arch.layer_order
        self.shares_layers = arch.distinct_layers is not None
        self.is_placed = functional.is_placed()
        self.has_sentences = arch.head == "pre_training"
        self.predicts_masked = self.has_sentences or arch.head == "masked_lm"
        complete(self, arch, len(arch.layer_order), seed, fill, param_dtype, dtype)

    def construct(
        self,
        input_ids,
        attention_mask=None,
        token_type_ids=None,
        position_ids=None,
        labels=None,
        start_positions=None,
        end_positions=None,
        masked_positions=None,
        sentence_labels=None,
        dropout_keys=None,
    ):
        """Encode a batch; all inputs are int32 or int64, [B, S] but for the targets of whole texts, [B].

        attention_mask is 1 for tokens and 0 for padding. A masked-LM head sees the masked_positions [B, P] of each row
        alone when they are given: its logits are then [B, P, V] and its labels [B, P]. sentence_labels belong to a
        pre-training head, dropout_keys are those of `DropoutNoise.row_keys`. Returns float32: without a head hidden
        states [B, S, D], with a pooler (hidden states, pooled [B, D]), else what `models.heads` says: logits, or a
        scalar loss with targets.
        """
        check_targets(self.has_head, self.takes_labels, labels, start_positions, end_positions)
        check_masked(self.predicts_masked, self.has_sentences, masked_positions, sentence_labels)
        noise = None
        if self.training and self.drops:
            noise = self.dropout.tables(self.dropout(dropout_keys), 0, input_ids.shape[0], input_ids.shape[1], 0)
        table_VE = self.embed.tokens.table()
        hidden_BSD = self.encode(input_ids, attention_mask, token_type_ids, position_ids, noise, table_VE)
        pooled_BD = None
        if self.has_pooler:
            pooled_BD = functional.tanh(self.pooler(hidden_BSD[:, 0]))
        if masked_positions is not None:
            hidden_BSD = at_positions(hidden_BSD, masked_positions, self.is_placed)
        if self.has_sentences:
            return self.head(hidden_BSD, pooled_BD, table_VE, input_ids, labels, None, None, noise, sentence_labels)
        if self.has_head:
            return self.head(hidden_BSD, pooled_BD, table_VE, input_ids, labels, start_positions, end_positions, noise)
        hidden_BSD = hidden_BSD.astype(mstype.float32)
        return (hidden_BSD, pooled_BD.astype(mstype.float32)) if self.has_pooler else hidden_BSD

    def encode(self, input_ids_BS, attention_mask_BS, token_type_ids_BS, position_ids_BS, noise=None, table_VE=None):
        """Return the last hidden states, [B, S, D] in the compute type."""
        bias_B1S1 = padding_bias(attention_mask_BS, input_ids_BS)
        x_BSD = self.embed(input_ids_BS, token_type_ids_BS, position_ids_BS, noise, table_VE)
        for turn, index in enumerate(self.layer_order):
            own_noise = shifted(noise, turn - index) if self.shares_layers else noise
            x_BSD = self.layers[index](x_BSD, bias_B1S1, noise=own_noise)
        return x_BSD
