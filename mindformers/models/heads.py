"""What stands on a stack of layers, and its loss. All heads are made and called alike; each uses what it needs.

`dtype` is what the branches of the stack compute in.

Shape suffixes: B batch, T tokens, D hidden, E table width, V vocabulary, L labels.
"""

from __future__ import annotations

from typing import Any, Dict

from mindspore import Parameter, nn, ops
from mindspore import dtype as mstype
from mindspore.common.initializer import initializer

from mindformers.arch.stacks import StackArch
from mindformers.nn import functional
from mindformers.nn.dropout import AT_HEAD, FreshDropout
from mindformers.nn.linear import Linear, TableProduct
from mindformers.nn.norm import norm
from mindformers.nn.token_losses import VocabularyLosses

IGNORED = -100
"""Label of a position that does not count (PyTorch's convention)."""


class SpanHead(nn.Cell):
    """Scores every token as start and as end of an answer (Devlin et al. 2019, arXiv:1810.04805, section 4.2)."""

    takes_labels = False

    def __init__(self, arch: StackArch, dtype=mstype.float32):
        super().__init__()
        self.span = Linear(arch.hidden_size, 2)

    def construct(self, hidden_BTD, pooled_BD, table_VE, input_ids_BT, labels, start_positions, end_positions, noise):
        """Return start and end logits, each float32 [B, T], or the loss when both positions are given."""
        logits_BT2 = self.span(hidden_BTD).astype(mstype.float32)
        start_BT, end_BT = logits_BT2[:, :, 0], logits_BT2[:, :, 1]
        if start_positions is None and end_positions is None:
            return start_BT, end_BT
        if start_positions is None or end_positions is None:
            raise ValueError("the loss needs both start_positions and end_positions")
        return span_loss(start_BT, end_BT, start_positions, end_positions)


class TokenClassifier(nn.Cell):
    """A label for every token."""

    takes_labels = True

    def __init__(self, arch: StackArch, dtype=mstype.float32):
        super().__init__()
        self.dropout = FreshDropout(arch.classifier_dropout, AT_HEAD)
        self.classifier = Linear(arch.hidden_size, arch.num_labels)

    def construct(self, hidden_BTD, pooled_BD, table_VE, input_ids_BT, labels, start_positions, end_positions, noise):
        """Return logits, float32 [B, T, L], or the mean cross entropy over labels that are not -100."""
        logits_BTL = self.classifier(self.dropout(hidden_BTD, noise)).astype(mstype.float32)
        if labels is None:
            return logits_BTL
        return functional.cross_entropy(
            logits_BTL.reshape(-1, logits_BTL.shape[-1]), labels.reshape(-1).astype(mstype.int32), IGNORED
        )


class SequenceClassifier(nn.Cell):
    """A label, or with one label a number, for a whole text; `arch.classifier` says what it is read from."""

    takes_labels = True

    def __init__(self, arch: StackArch, dtype=mstype.float32):
        super().__init__()
        self.reads, self.pad_token_id = arch.classifier, arch.pad_token_id
        self.dropout = FreshDropout(arch.classifier_dropout, AT_HEAD)
        if arch.classifier == "dense":
            self.drop_first = FreshDropout(arch.classifier_dropout, AT_HEAD + 2)
            self.dense = Linear(arch.hidden_size, arch.hidden_size)
            self.output = Linear(arch.hidden_size, arch.num_labels)
        elif arch.classifier == "last_token":
            self.score = Linear(arch.hidden_size, arch.num_labels, bias=False)
        else:
            self.classifier = Linear(arch.hidden_size, arch.num_labels)
        self.num_labels = arch.num_labels

    def construct(self, hidden_BTD, pooled_BD, table_VE, input_ids_BT, labels, start_positions, end_positions, noise):
        """Return logits, float32 [B, L], or the loss: mean cross entropy, or mean squared error with one label.

        Labels of -100, of a number NaN, do not count.
        """
        if self.reads == "pooled":
            logits_BL = self.classifier(self.dropout(pooled_BD, noise))
        elif self.reads == "dense":
            first_BD = self.drop_first(hidden_BTD[:, 0], noise)
            logits_BL = self.output(self.dropout(functional.tanh(self.dense(first_BD)), noise))
        else:
            logits_BL = self.score(self.last_token(hidden_BTD, input_ids_BT))
        logits_BL = logits_BL.astype(mstype.float32)
        if labels is None:
            return logits_BL
        if self.num_labels == 1:
            numbers_B = labels.reshape(-1).astype(mstype.float32)
            counts_B = ops.logical_not(ops.isnan(numbers_B)).astype(mstype.float32)
            difference_B = (logits_BL.reshape(-1) - ops.nan_to_num(numbers_B, 0.0, 0.0, 0.0)) * counts_B
            return (difference_B * difference_B).sum() / ops.maximum(counts_B.sum(), ops.ones((), mstype.float32))
        return functional.cross_entropy(logits_BL, labels.reshape(-1).astype(mstype.int32), IGNORED)

    def last_token(self, hidden_BTD, input_ids_BT):
        """Return the hidden state [B, D] of the last token that is no padding."""
        if self.pad_token_id is None:
            return hidden_BTD[:, -1]
        batch, length, size = hidden_BTD.shape
        is_token_BT = ops.not_equal(input_ids_BT, self.pad_token_id).astype(mstype.float32)
        positions_BT = ops.broadcast_to(ops.arange(length).astype(mstype.float32), is_token_BT.shape)
        last_B = ops.amax(is_token_BT * positions_BT, 1).astype(mstype.int32)
        rows = last_B + ops.arange(batch).astype(mstype.int32) * length
        return ops.gather(hidden_BTD.reshape(-1, size), rows, 0)


class MaskedLMHead(nn.Cell):
    """Which token stands behind a mask (Devlin et al. 2019, arXiv:1810.04805, section 3.1)."""

    takes_labels = True

    def __init__(self, arch: StackArch, dtype=mstype.float32):
        super().__init__()
        self.transform = Linear(arch.hidden_size, arch.table_size)
        self.activation = functional.activation(arch.head_activation)
        self.norm = norm(arch.norm, arch.table_size, arch.norm_eps)
        self.is_tied = arch.tied_head
        if not arch.tied_head:
            self.weight = Parameter(initializer("zeros", (arch.vocab_size, arch.table_size)), name="weight")
        self.bias = Parameter(initializer("zeros", (arch.vocab_size,)), name="bias")
        self.matmul = TableProduct()
        self.losses = VocabularyLosses(IGNORED, True, dtype)

    def construct(self, hidden_BTD, pooled_BD, table_VE, input_ids_BT, labels, start_positions, end_positions, noise):
        """Return logits, float32 [B, T, V], or the mean cross entropy over labels that are not -100."""
        return self.predict(hidden_BTD, table_VE, labels)

    def predict(self, hidden_BTD, table_VE, labels):
        """Return what `construct` returns, of what it takes."""
        features_BTE = self.norm(self.activation(self.transform(hidden_BTD)))
        table_VE = table_VE if self.is_tied else self.weight
        if labels is None:
            return functional.vocabulary_logits(features_BTE, table_VE, self.matmul, self.bias)
        labels_R = labels.reshape(-1).astype(mstype.int32)
        return functional.weighted_mean(*self.losses(features_BTE, table_VE, self.bias, labels_R))


class PreTrainingHead(MaskedLMHead):
    """A masked-LM head, and what `arch.sentence_task` says of two texts, read from the pooled first token."""

    def __init__(self, arch: StackArch, dtype=mstype.float32):
        super().__init__(arch, dtype)
        self.dropout = FreshDropout(
            arch.classifier_dropout if arch.sentence_task == "sentence_order" else 0.0, AT_HEAD
        )  # BERT reads the pooled token as it is, ALBERT drops parts of it
        self.sentence = Linear(arch.hidden_size, 2)

    def construct(
        self,
        hidden_BTD,
        pooled_BD,
        table_VE,
        input_ids_BT,
        labels,
        start_positions,
        end_positions,
        noise,
        sentence_labels=None,
    ):
        """Return logits of tokens, float32 [B, T, V], and of texts, float32 [B, 2], or the loss.

        The loss is the sum of the mean cross entropies for which labels are given; -100 does not count.
        """
        logits_B2 = self.sentence(self.dropout(pooled_BD, noise)).astype(mstype.float32)
        if labels is None and sentence_labels is None:
            return self.predict(hidden_BTD, table_VE, None), logits_B2
        if sentence_labels is None:
            return self.predict(hidden_BTD, table_VE, labels)
        sentence_loss = functional.cross_entropy(logits_B2, sentence_labels.reshape(-1).astype(mstype.int32), IGNORED)
        return sentence_loss if labels is None else self.predict(hidden_BTD, table_VE, labels) + sentence_loss


class VocabularyHead(nn.Cell):
    """The next token of a decoder: logits over the vocabulary from the token table or a table of the head's own."""

    takes_labels = True

    def __init__(self, arch: StackArch, dtype=mstype.float32):
        super().__init__()
        self.is_tied, self.normalizes, self.is_causal = arch.tied_head, arch.normalizes_head, arch.head == "causal_lm"
        self.scale = arch.hidden_size**-0.5 if arch.scales_head else 1.0
        self.matmul = TableProduct()
        self.losses = VocabularyLosses(IGNORED, False, dtype)
        if not arch.tied_head:
            self.weight = Parameter(initializer("zeros", (arch.vocab_size, arch.hidden_size)), name="weight")

    def construct(self, hidden_BTD, pooled_BD, table_VE, input_ids_BT, labels, start_positions, end_positions, noise):
        """Return logits, float32 [B, T, V], or the mean cross entropy over labels that are not -100.

        On causal models the label of a token is compared with the logits of the token before it; labels may have one
        token more than the text, the one that follows it.
        """
        if labels is None:
            return self.logits(hidden_BTD, table_VE)
        labels_R = self.aligned(labels, hidden_BTD).reshape(-1)
        return functional.weighted_mean(*self.losses(*self.factors(hidden_BTD, table_VE), None, labels_R))

    def row_losses(self, hidden_BTD, table_VE, labels):
        """Return the sum of the losses of each row and the number of its labels that count, each float32 [B]."""
        labels_BT = self.aligned(labels, hidden_BTD)
        losses, weights = self.losses(*self.factors(hidden_BTD, table_VE), None, labels_BT.reshape(-1))
        return losses.reshape(labels_BT.shape).sum(1), weights.reshape(labels_BT.shape).sum(1)

    def logits(self, hidden_BTD, table_VE):
        """Return float32 [B, T, V]."""
        hidden_BTD, table_VD = self.factors(hidden_BTD, table_VE)
        return functional.vocabulary_logits(hidden_BTD, table_VD, self.matmul)

    def factors(self, hidden_BTD, table_VE):
        """Return the hidden states and the table whose product the logits are."""
        table_VD = table_VE if self.is_tied else self.weight
        if self.normalizes:
            table_VD = functional.unit_rows(table_VD)
        if self.scale != 1.0:
            hidden_BTD = hidden_BTD * self.scale
        return hidden_BTD, table_VD

    def aligned(self, labels, hidden_BTD):
        """Return int32 [B, T]: the label that the logits of each place are compared with."""
        labels_BT = labels.astype(mstype.int32)
        if not self.is_causal:
            return labels_BT
        if labels_BT.shape[1] == hidden_BTD.shape[1] + 1:
            return labels_BT[:, 1:]
        nothing_B1 = ops.full((labels_BT.shape[0], 1), IGNORED, dtype=mstype.int32)
        return ops.concat((labels_BT[:, 1:], nothing_B1), 1)


HEADS: Dict[str, Any] = {
    "question_answering": SpanHead,
    "token_classification": TokenClassifier,
    "sequence_classification": SequenceClassifier,
    "masked_lm": MaskedLMHead,
    "pre_training": PreTrainingHead,
    "causal_lm": VocabularyHead,
    "seq2seq_lm": VocabularyHead,
}
"""`arch.stacks.Head` -> cell; the others have none."""


def check_targets(has_head, takes_labels, labels, start_positions, end_positions):
    """Raise ValueError when a model is given targets that its head does not use."""
    if labels is not None and not (has_head and takes_labels):
        raise ValueError(
            "labels were given to a model whose head does not use them; "
            "a question answering model takes start_positions and end_positions"
        )
    if (start_positions is not None or end_positions is not None) and (not has_head or takes_labels):
        raise ValueError("start_positions and end_positions need a model with a question answering head")


def check_masked(predicts_masked, has_sentences, masked_positions, sentence_labels):
    """Raise ValueError when an encoder is given places or labels that its head does not use."""
    if masked_positions is not None and not predicts_masked:
        raise ValueError("masked_positions need a model with a masked-LM or pre-training head")
    if sentence_labels is not None and not has_sentences:
        raise ValueError("sentence_labels need a model with a pre-training head")


def at_positions(hidden_BTD, positions_BP, is_placed):
    """Return the hidden states [B, P, D] at the given places of each row.

    In a placed model by an operator that can be split by rows; on one device faster, out of all rows at once.
    """
    batch, length, size = hidden_BTD.shape
    if is_placed:
        index_BPD = ops.broadcast_to(positions_BP.astype(mstype.int32).expand_dims(2), positions_BP.shape + (size,))
        return ops.gather_elements(hidden_BTD, 1, index_BPD)
    starts_B1 = (ops.arange(batch) * length).astype(mstype.int32).expand_dims(1)
    rows_BP = positions_BP.astype(mstype.int32) + ops.broadcast_to(starts_B1, positions_BP.shape)
    picked = ops.gather(hidden_BTD.reshape(-1, size), rows_BP.reshape(-1), 0)
    return picked.reshape(positions_BP.shape + (size,))


def span_loss(start_logits_BT, end_logits_BT, start_positions, end_positions):
    """Return the mean of the cross entropies of start and end, a float32 scalar.

    Positions are integers [B] or [B, 1], in tokens; one past the sequence (an answer outside the window) is ignored,
    a negative one counts as 0. A batch whose positions are all ignored has loss 0.
    """
    length = start_logits_BT.shape[1]
    start_B = ops.clamp(start_positions.reshape(-1), 0, length)
    end_B = ops.clamp(end_positions.reshape(-1), 0, length)
    start_loss = functional.cross_entropy(start_logits_BT, start_B, length)
    end_loss = functional.cross_entropy(end_logits_BT, end_B, length)
    return (start_loss + end_loss) / 2
