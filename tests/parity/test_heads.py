"""Every head against NumPy in float64: logits, loss and the gradients of both."""

import dataclasses

import numpy as np
import pytest
from mindspore import Tensor

from mindformers.arch.stacks import DecoderArch, EncoderArch, EncoderDecoderArch
from mindformers.models.decoder import DecoderModel
from mindformers.models.encoder import EncoderModel
from mindformers.models.encoder_decoder import EncoderDecoderModel
from mindformers.models.heads import HEADS, check_targets
from tests.parity import reference
from tests.parity.reference import ACTIVATIONS, check, cross_entropy, dense, distance, fill, normal
from tests.parity.tolerances import CELL

mode, same_numbers = reference.mode, reference.same_numbers

B, T, D, V, E = 3, 4, 6, 9, 5
ARCH = EncoderArch(
    vocab_size=V, hidden_size=D, num_layers=1, num_heads=2, intermediate_size=8, max_positions=8, norm_eps=1e-5
)
IDS = np.array([[4, 5, 6, 7], [4, 5, 0, 0], [0, 0, 6, 0]], np.int32)


def head_of(kind, **flags):
    arch = dataclasses.replace(ARCH, head=kind, **flags)
    cell = HEADS[kind](arch)
    cell.set_train(False)
    return cell, arch


def check_head(cell, formula, *, pooled=None, table=None, ids=None, labels=None, start=None, end=None):
    """formula(parameters, hidden, pooled, table) is compared with a head that reads whichever of them are given."""
    shortened = lambda p, hidden, pooled, table, *_: formula(p, hidden, pooled, table)  # noqa: E731
    by = (0, *[place for place, value in ((1, pooled), (2, table)) if value is not None])
    by = by[1:] if pooled is not None else by
    check(cell, shortened, normal(B, T, D), pooled, table, ids, labels, start, end, None, by=by)


def test_a_span_head_scores_every_token_as_start_and_as_end():
    cell, _ = head_of("question_answering", num_labels=5)  # a span always has two
    p, hidden = fill(cell), normal(B, T, D)
    start, end = cell(Tensor(hidden), None, None, None, None, None, None, None)
    expected = dense(p, "span", hidden.astype(np.float64))
    assert distance(start, expected[..., 0]) < CELL
    assert distance(end, expected[..., 1]) < CELL


@pytest.mark.parametrize(
    ("start", "end"),
    [([0, 2, 3], [1, 2, 3]), ([0, T, -3], [T + 9, T, 2]), ([[0], [1], [2]], [[3], [3], [3]])],
    ids=["inside", "outside", "columns"],
)
def test_the_loss_of_a_span_ignores_answers_outside_the_window(mode, start, end):
    cell, _ = head_of("question_answering")
    start, end = np.array(start, np.int32), np.array(end, np.int32)

    def formula(p, hidden, *_):
        logits = dense(p, "span", hidden)
        places = (np.clip(positions.reshape(-1), 0, T) for positions in (start, end))
        return sum(cross_entropy(logits[..., side], at, T) for side, at in enumerate(places)) / 2

    check_head(cell, formula, start=start, end=end)


def test_a_span_needs_both_positions():
    cell, _ = head_of("question_answering")
    given = Tensor(np.zeros(B, np.int32))
    for positions in ((given, None), (None, given)):
        with pytest.raises(ValueError, match="both start_positions and end_positions"):
            cell(Tensor(normal(B, T, D)), None, None, None, None, *positions, None)


LABELS = np.array([[1, 0, -100, 3], [-100, -100, -100, -100], [2, 2, 0, 1]], np.int32)


@pytest.mark.parametrize("labels", [None, LABELS], ids=["logits", "loss"])
def test_a_token_classifier_labels_every_token(mode, labels):
    cell, _ = head_of("token_classification", num_labels=4)

    def formula(p, hidden, *_):
        logits = dense(p, "classifier", hidden)
        return logits if labels is None else cross_entropy(logits, labels, -100)

    check_head(cell, formula, labels=labels)


def sequence_formula(labels, num_labels, features):
    def formula(p, hidden, pooled, _):
        logits = features(p, hidden, pooled)
        if labels is None:
            return logits
        if num_labels == 1:
            return ((logits[:, 0] - labels.reshape(-1)) ** 2).mean()
        return cross_entropy(logits, labels, -100)

    return formula


TARGETS = {
    "logits": (3, None),
    "loss": (3, np.array([2, 0, 1], np.int32)),
    "loss_of_a_column": (3, np.array([[2], [-100], [1]], np.int64)),
    "regression": (1, np.array([0.3, -1.0, 2.5], np.float32)),
    "regression_of_integers": (1, np.array([[0], [2], [5]], np.int32)),
}


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_classifier_of_texts_reads_the_pooled_first_token(target):
    num_labels, labels = TARGETS[target]
    cell, _ = head_of("sequence_classification", num_labels=num_labels)
    formula = sequence_formula(labels, num_labels, lambda p, _, pooled: dense(p, "classifier", pooled))
    check_head(cell, formula, pooled=normal(B, D), labels=labels)


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_dense_classifier_reads_the_first_token_through_a_layer_of_its_own(target):
    num_labels, labels = TARGETS[target]
    cell, _ = head_of("sequence_classification", num_labels=num_labels, classifier="dense")

    def features(p, hidden, _):
        return dense(p, "output", np.tanh(dense(p, "dense", hidden[:, 0])))

    check_head(cell, sequence_formula(labels, num_labels, features), labels=labels)


PADDED = {
    "no_padding": (8, [3, 3, 3]),
    "padding_on_the_right_and_left": (0, [3, 1, 2]),
    "a_text_of_padding_alone": (0, [3, 1, 0]),
    "no_padding_token": (None, [3, 3, 3]),
}


@pytest.mark.parametrize("case", sorted(PADDED))
def test_a_decoder_classifies_a_text_by_its_last_token_that_is_no_padding(mode, case):
    pad, last = PADDED[case]
    ids = np.where(np.arange(B)[:, None] == 2, 0, IDS).astype(np.int32) if "alone" in case else IDS
    cell, _ = head_of("sequence_classification", num_labels=3, classifier="last_token", pad_token_id=pad)
    assert [path for path, _ in cell.parameters_and_names()] == ["score.weight"]
    check_head(cell, lambda p, hidden, *_: dense(p, "score", hidden[np.arange(B), last]), ids=ids)


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_a_decoder_classifier_has_the_losses_of_the_others(target):
    num_labels, labels = TARGETS[target]
    flags = {"num_labels": num_labels, "classifier": "last_token", "pad_token_id": 0}
    cell, _ = head_of("sequence_classification", **flags)
    formula = sequence_formula(labels, num_labels, lambda p, x, _: dense(p, "score", x[np.arange(B), [3, 1, 2]]))
    check_head(cell, formula, ids=IDS, labels=labels)


WORDS = np.array([[3, -100, 8, 0], [-100, -100, 2, -100], [5, 5, -100, 1]], np.int32)


@pytest.mark.parametrize("labels", [None, WORDS], ids=["logits", "loss"])
@pytest.mark.parametrize("size", [None, E], ids=["full", "factorised"])
@pytest.mark.parametrize("tied", [True, False], ids=["tied", "untied"])
def test_a_masked_lm_head_transforms_norms_and_compares_with_a_table(tied, size, labels):
    act = "gelu_tanh" if tied else "relu"
    flags = {"tied_head": tied, "embedding_size": size, "head_activation": act, "activation": "silu"}
    cell, arch = head_of("masked_lm", **flags)
    assert ("weight" in dict(cell.parameters_and_names())) != tied

    def formula(p, hidden, _, table):
        features = reference.norm(p, "norm", arch, ACTIVATIONS[act](dense(p, "transform", hidden)))
        logits = features @ (table if tied else p["weight"]).T + p["bias"]
        return logits if labels is None else cross_entropy(logits, labels, -100)

    check_head(cell, formula, table=normal(V, size or D) if tied else None, labels=labels)


def unit(table):
    return table / np.sqrt((table**2).sum(-1, keepdims=True))


VOCABULARY_FLAGS = {
    "tied": {},
    "untied": {"tied_head": False},
    "normalized": {"tied_head": False, "normalizes_head": True},
    "normalized_and_tied": {"normalizes_head": True},
    "scaled": {"scales_head": True},
}


@pytest.mark.parametrize("labels", [None, WORDS], ids=["logits", "loss"])
@pytest.mark.parametrize("flags", sorted(VOCABULARY_FLAGS))
@pytest.mark.parametrize("kind", ["causal_lm", "seq2seq_lm"])
def test_a_vocabulary_head_compares_hidden_states_with_a_table(kind, flags, labels):
    cell, arch = head_of(kind, **VOCABULARY_FLAGS[flags])
    paths = [path for path, _ in cell.parameters_and_names()]
    assert paths == ([] if arch.tied_head else ["weight"])

    def formula(p, hidden, _, table):
        table = table if arch.tied_head else p["weight"]
        scale = 1 / np.sqrt(D) if arch.scales_head else 1.0
        logits = scale * hidden @ (unit(table) if arch.normalizes_head else table).T
        if labels is None:
            return logits
        if kind == "causal_lm":  # what stands at t predicts the token at t + 1
            return cross_entropy(logits[:, :-1], labels[:, 1:], -100)
        return cross_entropy(logits, labels, -100)

    check_head(cell, formula, table=normal(V, D) if arch.tied_head else None, labels=labels)


@pytest.mark.parametrize("kind", ["causal_lm", "seq2seq_lm"])
def test_a_vocabulary_head_is_the_same_in_both_modes(mode, kind):
    cell, _ = head_of(kind, tied_head=False, normalizes_head=True, scales_head=True)

    def formula(p, hidden, *_):
        logits = hidden @ unit(p["weight"]).T / np.sqrt(D)
        return (
            cross_entropy(logits[:, :-1], WORDS[:, 1:], -100)
            if kind == "causal_lm"
            else cross_entropy(logits, WORDS, -100)
        )

    check_head(cell, formula, labels=WORDS)


def test_the_row_of_zeros_in_a_normalized_head_gives_zero_logits_and_finite_gradients():
    cell, _ = head_of("causal_lm", tied_head=False, normalizes_head=True)
    fill(cell)
    table = cell.weight.asnumpy()
    table[3] = 0
    cell.weight.set_data(Tensor(table))
    logits = cell(Tensor(normal(B, T, D)), None, None, None, None, None, None, None)
    assert np.isfinite(logits.asnumpy()).all()
    assert (logits.asnumpy()[..., 3] == 0).all()


def test_labels_that_all_are_ignored_make_a_loss_of_zero():
    for kind, last in (("causal_lm", 1), ("masked_lm", 1), ("token_classification", 1), ("sequence_classification", 0)):
        cell, _ = head_of(kind, tied_head=False)
        labels = Tensor(np.full((B, T) if last else B, -100, np.int32))
        inputs = Tensor(normal(B, T, D)), Tensor(normal(B, D)), None, None, labels, None, None, None
        assert float(cell(*inputs)) == 0.0, kind


@pytest.mark.parametrize(
    ("head", "takes", "given", "said"),
    [
        (False, False, ("labels",), "labels were given to a model whose head does not use them"),
        (True, False, ("labels",), "a question answering model takes start_positions and end_positions"),
        (False, False, ("start",), "need a model with a question answering head"),
        (False, False, ("end",), "need a model with a question answering head"),
        (True, True, ("end",), "need a model with a question answering head"),
        (True, True, ("labels", "start"), "need a model with a question answering head"),
    ],
)
def test_targets_without_a_use_are_refused(head, takes, given, said):
    with pytest.raises(ValueError, match=said):
        check_targets(head, takes, *(1 if name in given else None for name in ("labels", "start", "end")))


def test_targets_of_the_head_and_none_at_all_are_accepted():
    check_targets(True, True, 1, None, None)
    check_targets(True, False, None, 1, 1)
    for head, takes in ((False, False), (True, False), (True, True)):
        check_targets(head, takes, None, None, None)


def test_each_stack_checks_the_targets_it_is_given():
    sizes = {field: getattr(ARCH, field) for field in ("vocab_size", "hidden_size", "num_layers", "num_heads")}
    sizes.update(intermediate_size=8, max_positions=8)
    ids, positions = Tensor(IDS), Tensor(np.zeros(B, np.int32))
    with pytest.raises(ValueError, match="labels were given"):
        EncoderModel(EncoderArch(**sizes))(ids, labels=ids)
    with pytest.raises(ValueError, match="question answering head"):
        EncoderModel(EncoderArch(**sizes, head="pooler"))(ids, start_positions=positions)
    with pytest.raises(ValueError, match="question answering head"):
        DecoderModel(DecoderArch(**sizes, pre_norm=True, head="causal_lm"))(ids, end_positions=positions)
    relative = {"positions": "relative", "num_decoder_layers": 1, "pre_norm": True}
    with pytest.raises(ValueError, match="labels were given"):
        EncoderDecoderModel(EncoderDecoderArch(**sizes, **relative))(ids, decoder_input_ids=ids, labels=ids)
