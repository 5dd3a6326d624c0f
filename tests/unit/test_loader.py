"""Batches: fixed shapes, an order that seed and epoch decide, ranks, fillers, resuming, MindSpore's pipeline."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import nn

from mindformers.data.loader import BatchPlan, FeatureSet, create_dataset
from mindformers.errors import DataError, UsageError


def features(count=10):
    return FeatureSet(
        {"ids": np.arange(count * 3, dtype=np.int32).reshape(count, 3), "label": np.arange(count, dtype=np.int32)},
        fillers={"label": 99},
    )


def plan(**changes):
    return BatchPlan(**{"num_rows": 10, "batch_size": 4, "shuffle": True, "seed": 7, **changes})


def epochs(dataset, count=1):
    """Rows of every batch of every epoch, read from the last column."""
    iterator = dataset.create_tuple_iterator(num_epochs=count, output_numpy=True)
    return [[batch[-1].tolist() for batch in iterator] for _ in range(count)]


def make(count=10, batch_size=4, **options):
    return create_dataset(features(count), batch_size, **{"shuffle": True, "seed": 7, "with_rows": True, **options})


def test_batches_have_fixed_shapes_in_column_order():
    batches = list(create_dataset(features(), 4, shuffle=False, seed=0).create_tuple_iterator(output_numpy=True))
    assert [(ids.shape, label.shape, ids.dtype, label.dtype) for ids, label in batches] == [
        ((4, 3), (4,), np.int32, np.int32)
    ] * 3
    assert batches[0][0].tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]


def test_the_last_partial_batch_is_filled_with_ignored_labels_and_marked_rows():
    ids, label, rows = list(make(shuffle=False).create_tuple_iterator(output_numpy=True))[-1]
    assert rows.tolist() == [8, 9, -1, -1]
    assert label.tolist() == [8, 9, 99, 99]
    assert ids[2:].tolist() == [[0, 1, 2], [0, 1, 2]]


def test_every_row_comes_once_an_epoch():
    for rows in epochs(make(), 3):
        assert sorted(row for batch in rows for row in batch if row >= 0) == list(range(10))


def test_two_epochs_differ_and_the_same_epoch_repeats():
    first, second, third = epochs(make(), 3)
    assert first != second != third != first
    assert epochs(make(), 3) == [first, second, third]
    assert epochs(make(epochs_done=1), 2) == [second, third]


def test_another_seed_gives_another_order():
    assert epochs(make(seed=8)) != epochs(make(seed=7))


def test_each_iterator_starts_at_the_first_epoch_whatever_was_asked_before():
    dataset = make()
    before = epochs(dataset, 2)
    assert dataset.output_shapes() == [[4, 3], [4], [4]]
    assert dataset.get_dataset_size() == 3
    assert epochs(dataset, 2) == before


def test_an_epoch_can_start_at_any_step():
    first, second = epochs(make(), 2)
    resumed = make(start_step=2)
    assert resumed.get_dataset_size() == 3
    assert epochs(resumed, 2) == [first[2:], second]


def test_ranks_together_see_the_order_of_one_rank():
    for drop in (False, True):
        alone = epochs(make(count=11, batch_size=4, drop_remainder=drop), 2)
        halves = [
            epochs(make(count=11, batch_size=2, rank=rank, num_ranks=2, drop_remainder=drop), 2) for rank in range(2)
        ]
        together = [[left + right for left, right in zip(*epoch)] for epoch in zip(*halves)]
        assert together == alone


def test_a_rank_without_rows_in_the_last_step_gets_fillers_only():
    assert epochs(make(count=9, batch_size=4, rank=1, num_ranks=2, shuffle=False)) == [[[4, 5, 6, 7], [-1] * 4]]


def test_the_remainder_can_be_dropped():
    dataset = make(drop_remainder=True)
    assert dataset.get_dataset_size() == 2
    assert [len(rows) for rows in epochs(dataset, 2)] == [2, 2]


def test_a_dataset_smaller_than_a_batch_is_refused_when_the_remainder_is_dropped():
    with pytest.raises(DataError, match=r"has 10 rows, fewer than one batch of 12 \(6 rows x 2 ranks\)"):
        make(batch_size=6, num_ranks=2, drop_remainder=True)
    assert make(batch_size=6, num_ranks=2).get_dataset_size() == 1


def test_the_order_is_that_of_a_seeded_generator():
    expected = np.random.Generator(np.random.PCG64([7, 3])).permutation(10)
    assert plan().order(3).tolist() == expected.tolist()
    assert plan(num_ranks=2, rank=1, batch_size=1).order(3).tolist() == expected.tolist()
    assert plan(shuffle=False).order(3).tolist() == list(range(10))


@pytest.mark.parametrize(
    "changes, error, message",
    [
        ({"batch_size": 0}, UsageError, "batch_size=0"),
        ({"rank": 2, "num_ranks": 2}, UsageError, "rank=2, num_ranks=2"),
        ({"num_rows": 0}, DataError, "no row"),
    ],
)
def test_impossible_plans_are_refused(changes, error, message):
    with pytest.raises(error, match=message):
        plan(**changes)


def test_a_start_step_past_the_epoch_is_refused():
    with pytest.raises(UsageError, match="start_step=3: an epoch has 3 steps"):
        make(start_step=3)


def test_columns_of_unequal_length_and_unknown_fillers_are_refused():
    with pytest.raises(DataError, match="equal lengths"):
        FeatureSet({"a": np.zeros(2), "b": np.zeros(3)})
    with pytest.raises(DataError, match=r"filler values for \['c'\]"):
        FeatureSet({"a": np.zeros(2)}, {"c": 0})


class Seen(ms.train.Callback):
    def __init__(self):
        super().__init__()
        self.epochs = {}

    def on_train_step_end(self, run_context):
        state = run_context.original_args()
        self.epochs.setdefault(state.cur_epoch_num, []).append(state.train_dataset_element[-1].asnumpy().tolist())


class Sum(nn.Cell):
    def construct(self, ids, label, row):
        return ids.sum() + label.sum() + row.sum()


@pytest.mark.parametrize("initial_epoch, start_step", [(0, 0), (1, 2)])
def test_model_train_sees_a_new_order_every_epoch_and_resumes_inside_one(initial_epoch, start_step):
    straight = epochs(make(), 3)
    seen = Seen()
    ms.train.Model(Sum()).train(
        3,
        make(epochs_done=initial_epoch, start_step=start_step),
        callbacks=[seen],
        dataset_sink_mode=False,
        initial_epoch=initial_epoch,
    )
    expected = {epoch + 1: straight[epoch] for epoch in range(initial_epoch, 3)}
    expected[initial_epoch + 1] = expected[initial_epoch + 1][start_step:]
    assert seen.epochs == expected
