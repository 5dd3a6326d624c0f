"""Masks of masked language modelling: shares, whole words, and what they depend on."""

import numpy as np
import pytest

from mindformers.data.loader import BatchPlan, FeatureSet, create_dataset, gather
from mindformers.data.mask_lm import Masking, masked_features, masked_rows
from mindformers.data.pack import IGNORED
from mindformers.errors import DataError

CLS, SEP, PAD, MASK, WORDS = 0, 1, 2, 3, 4
VOCABULARY, LENGTH, ROWS = 1000, 66, 400


def masking(probability=0.15, width=10, seed=1, continues=None):
    special = np.arange(VOCABULARY) < WORDS
    return Masking(MASK, special, probability, width, seed, continues)


def rows(count=ROWS, padding=0):
    ids = np.random.default_rng(3).integers(WORDS, VOCABULARY, (count, LENGTH)).astype(np.int32)
    ids[:, 0], ids[:, LENGTH - padding - 1] = CLS, SEP
    ids[:, LENGTH - padding :] = PAD
    return {"input_ids": ids, "attention_mask": (ids != PAD).astype(np.int32)}


def drawn(columns, rule, epoch=0, numbers=None):
    numbers = np.arange(len(columns["input_ids"])) if numbers is None else np.asarray(numbers)
    return rule({name: array[numbers] for name, array in columns.items()}, numbers, epoch)


def at_labels(columns, made):
    """Return what stood at the chosen places, what is shown there, and which labels count."""
    places = made["masked_positions"]
    return (
        np.take_along_axis(columns["input_ids"], places, 1),
        np.take_along_axis(made["input_ids"], places, 1),
        made["labels"] != IGNORED,
    )


def within_binomial_bounds(hits, trials, share):
    return abs(hits - trials * share) < 5 * np.sqrt(trials * share * (1 - share))


def test_eighty_percent_are_masked_ten_replaced_and_ten_shown():
    columns = rows()
    made = drawn(columns, masking())
    before, shown, counts = at_labels(columns, made)
    total = counts.sum()
    assert total == ROWS * round(0.15 * (LENGTH - 2))
    assert within_binomial_bounds((shown[counts] == MASK).sum(), total, 0.8)
    assert within_binomial_bounds((shown[counts] == before[counts]).sum(), total, 0.1)
    others = shown[counts & (shown != MASK) & (shown != before)]
    assert within_binomial_bounds(len(others), total, 0.1)
    assert others.min() >= WORDS and len(np.unique(others)) > 0.8 * len(others)


def test_labels_are_the_tokens_that_stood_at_the_places_and_nothing_else_changes():
    columns = rows(padding=7)
    made = drawn(columns, masking())
    before, _, counts = at_labels(columns, made)
    assert (made["labels"][counts] == before[counts]).all()
    changed = made["input_ids"] != columns["input_ids"]
    chosen = np.zeros_like(changed)
    np.put_along_axis(chosen, made["masked_positions"], True, 1)
    assert changed.any() and not (changed & ~chosen).any()
    assert (np.diff(made["masked_positions"], axis=1)[counts[:, 1:]] > 0).all()  # in their order, each once


def test_special_tokens_and_padding_are_never_chosen():
    columns = rows(padding=20)
    columns["input_ids"][:, 10:20] = MASK
    made = drawn(columns, masking(probability=0.9, width=60))
    assert ((made["labels"] == IGNORED) | (made["labels"] >= WORDS)).all()


def test_masks_are_a_function_of_seed_epoch_and_row():
    columns, rule = rows(40), masking()
    whole = drawn(columns, rule, epoch=2)
    part = drawn(columns, rule, epoch=2, numbers=[31, 7])
    for name in whole:
        assert (whole[name][[31, 7]] == part[name]).all()
    for other in (drawn(columns, rule, epoch=3), drawn(columns, masking(seed=2), epoch=2)):
        assert (other["masked_positions"] != whole["masked_positions"]).any(axis=1).all()
    twice = drawn({name: array[[5, 5]] for name, array in columns.items()}, rule)
    assert (twice["masked_positions"][0] != twice["masked_positions"][1]).any()  # the row's number, not its content


def test_the_most_predictions_of_a_row_bound_its_masks_and_a_short_row_has_one():
    assert (drawn(rows(5), masking(probability=0.5, width=4))["labels"] != IGNORED).sum(1).tolist() == [4] * 5
    assert (drawn(rows(5, padding=LENGTH - 4), masking())["labels"] != IGNORED).sum(1).tolist() == [1] * 5
    assert (drawn(rows(5, padding=LENGTH - 2), masking())["labels"] == IGNORED).all()


def test_all_pieces_of_a_word_are_chosen_together():
    continues = np.arange(VOCABULARY) % 3 == 0
    columns = rows()
    made = drawn(columns, masking(continues=continues))
    chosen = np.zeros(columns["input_ids"].shape, bool)
    for row, (places, labels) in enumerate(zip(made["masked_positions"], made["labels"])):
        chosen[row, places[labels != IGNORED]] = True
    inside = continues[columns["input_ids"]] & (columns["input_ids"] >= WORDS)
    inside[:, 1] = False  # the first token of a text begins a word
    assert (chosen[:, 1:] == chosen[:, :-1])[inside[:, 1:]].all()
    assert chosen.sum() > 0.9 * ROWS * round(0.15 * (LENGTH - 2))


@pytest.mark.parametrize("ranks", [1, 3])
def test_batches_differ_between_epochs_and_not_with_ranks_or_resumption(ranks):
    features = masked_features(rows(12), masking())

    def seen(epoch, start=0, count=1):
        plans = [BatchPlan(12, 6 // count, True, 4, rank, count) for rank in range(count)]
        parts = [list(plan.batches(epoch, start)) for plan in plans]
        steps = [np.concatenate(step) for step in zip(*parts)]
        return [dict(zip(features.columns, gather(features, step, epoch=epoch))) for step in steps]

    straight = seen(1)
    other = seen(1, start=1, count=ranks)
    assert all((straight[1][name] == other[0][name]).all() for name in straight[1])
    pipeline = create_dataset(features, 6, shuffle=True, seed=4, epochs_done=1, start_step=1)
    first, second = (
        [[column.asnumpy() for column in batch] for batch in iterator]
        for iterator in (pipeline.create_tuple_iterator(), create_epochs(features))
    )
    assert all((a == b).all() for a, b in zip(first[0], straight[1].values()))
    assert all((a == b).all() for a, b in zip(second[0], seen(0)[0].values()))


def create_epochs(features):
    return create_dataset(features, 6, shuffle=True, seed=4).create_tuple_iterator()


def test_rows_that_fill_up_a_batch_have_nothing_to_find():
    features = masked_features({**rows(3), "sentence_labels": np.ones(3, np.int32)}, masking())
    batch = dict(zip(features.columns, gather(features, np.array([2, -1]))))
    assert (batch["labels"][0] != IGNORED).any() and (batch["labels"][1] == IGNORED).all()
    assert batch["sentence_labels"].tolist() == [1, IGNORED]


def test_a_feature_set_without_draw_is_taken_as_it_is():
    (batch,) = gather(FeatureSet({"x": np.arange(4)}), np.array([3, 1]), epoch=5)
    assert batch.tolist() == [3, 1]


RECORDS = {
    "input_ids": [[9, 3, 8, 0]],
    "input_mask": [[1, 1, 1, 0]],
    "segment_ids": [[0, 0, 1, 1]],
    "next_sentence_labels": [[1]],
    "masked_lm_positions": [[1, 0]],
    "masked_lm_ids": [[7, 0]],
    "masked_lm_weights": [[1.0, 0.0]],
}


def records(**changes):
    return {name: np.array(value) for name, value in {**RECORDS, **changes}.items() if value is not None}


def test_records_of_bert_become_the_models_inputs():
    made = masked_rows(records(), "the rows")
    assert {name: array.tolist() for name, array in made.columns.items()} == {
        "input_ids": [[9, 3, 8, 0]],
        "attention_mask": [[1, 1, 1, 0]],
        "token_type_ids": [[0, 0, 1, 1]],
        "sentence_labels": [1],
        "masked_positions": [[1, 0]],
        "labels": [[7, IGNORED]],
    }
    assert all(array.dtype == np.int32 for array in made.columns.values())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"masked_lm_ids": None}, "masked language modelling takes those of BERT's pre-training records"),
        ({"answers": [[1]]}, "masked language modelling takes those of BERT's pre-training records"),
        ({"input_mask": [[1, 1]]}, "columns must have the same shape"),
        ({"masked_lm_positions": [[1, 4]]}, "row 0: masked_lm_positions has 4, outside of its 4 tokens"),
    ],
)
def test_other_records_are_refused_with_the_reason(changes, said):
    with pytest.raises(DataError, match=said):
        masked_rows(records(**changes), "the rows")
