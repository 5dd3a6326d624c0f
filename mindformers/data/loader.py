"""Rows in memory to batches of fixed shape, in an order that only the seed and the epoch decide.

The global batch of a step is the same whatever the number of ranks: `batch_size * num_ranks` rows in order, of which
rank r takes the r-th part. So a run can go on with another number of ranks and see the same rows.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Callable, Dict, Iterator, Optional, Tuple

import numpy as np
from mindspore.dataset import Dataset, GeneratorDataset

from mindformers.errors import DataError, UsageError

FILLER_ROW = -1
"""Stands in the place of a row where the last batch has no more rows."""
ROW_COLUMN = "row"
Draw = Callable[[Dict[str, np.ndarray], np.ndarray, int], Dict[str, np.ndarray]]
"""Columns of a batch by name, their rows int64 [B] and the epoch (from 0), to the columns that the model sees."""


@dataclass(frozen=True)
class FeatureSet:
    """Columns of equal length in the order in which a batch yields them."""

    columns: Dict[str, np.ndarray]
    """Name to array [n, ...]."""
    fillers: Dict[str, int] = field(default_factory=dict)
    """For labels: the value that the loss ignores, given to rows that fill up the last batch."""
    draw: Optional[Draw] = None
    """Makes what differs from epoch to epoch, e.g. masks; a function of rows and epoch alone, of the same columns."""

    def __post_init__(self):
        lengths = {name: len(array) for name, array in self.columns.items()}
        if not lengths or len(set(lengths.values())) != 1:
            raise DataError(f"the columns of a dataset must have equal lengths, these have {lengths}")
        unknown = sorted(set(self.fillers) - set(lengths))
        if unknown:
            raise DataError(f"filler values for {unknown}, but the columns are {sorted(lengths)}")

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


@dataclass(frozen=True)
class BatchPlan:
    """Which rows stand in which batch; pure arithmetic, no data."""

    num_rows: int
    batch_size: int
    """Rows a step of one rank."""
    shuffle: bool
    seed: int
    rank: int = 0
    num_ranks: int = 1
    drop_remainder: bool = False

    def __post_init__(self):
        if self.batch_size < 1 or not 0 <= self.rank < self.num_ranks:
            raise UsageError(
                f"batch_size={self.batch_size}, rank={self.rank}, num_ranks={self.num_ranks}: batch_size "
                "must be at least 1 and rank from 0 to num_ranks - 1"
            )
        if self.num_rows < 1:
            raise DataError("the dataset has no row")
        if self.steps < 1:
            raise DataError(
                f"the dataset has {self.num_rows} rows, fewer than one batch of {self.global_batch} "
                f"({self.batch_size} rows x {self.num_ranks} ranks), and drop_remainder leaves no batch; lower "
                "batch_size or switch drop_remainder off"
            )

    @property
    def global_batch(self) -> int:
        """Rows a step of all ranks together."""
        return self.batch_size * self.num_ranks

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return self.num_rows // self.global_batch if self.drop_remainder else -(-self.num_rows // self.global_batch)

    def order(self, epoch: int) -> np.ndarray:
        """Return the row order of an epoch (counted from 0), int64 [num_rows]: a function of seed and epoch alone."""
        if not self.shuffle:
            return np.arange(self.num_rows)
        return np.random.Generator(np.random.PCG64([self.seed, epoch])).permutation(self.num_rows)

    def batches(self, epoch: int, start_step: int = 0) -> Iterator[np.ndarray]:
        """Yield the rows of this rank's batches, int64 [batch_size] each, FILLER_ROW where rows have run out."""
        order = self.order(epoch)
        for step in range(start_step, self.steps):
            begin = step * self.global_batch + self.rank * self.batch_size
            rows = order[begin : begin + self.batch_size]
            yield np.concatenate([rows, np.full(self.batch_size - len(rows), FILLER_ROW)])


def gather(features: FeatureSet, rows: np.ndarray, with_rows: bool = False, epoch: int = 0) -> Tuple[np.ndarray, ...]:
    """Return the columns of a batch of an epoch (from 0).

    Filler rows repeat row 0, except that columns with a filler value hold that.
    """
    fillers = rows == FILLER_ROW
    real = np.where(fillers, 0, rows)
    taken = {name: column[real] for name, column in features.columns.items()}
    if features.draw is not None:
        taken = features.draw(taken, real, epoch)
    for name, value in features.fillers.items():
        taken[name][fillers] = value
    batch = [taken[name] for name in features.columns]
    if with_rows:
        batch.append(rows.astype(np.int32))
    return tuple(batch)


class EpochBatches:
    """One pass per epoch: every `iter()` gives the batches of the next epoch."""

    def __init__(self, features: FeatureSet, plan: BatchPlan, with_rows: bool, epoch: int, start_step: int):
        self._features, self._plan, self._with_rows = features, plan, with_rows
        self._first_epoch, self._start_step = epoch, start_step
        self._epoch = epoch

    def __iter__(self) -> Iterator[Tuple[np.ndarray, ...]]:
        epoch, self._epoch = self._epoch, self._epoch + 1
        start = self._start_step if epoch == self._first_epoch else 0
        return (gather(self._features, rows, self._with_rows, epoch) for rows in self._plan.batches(epoch, start))

    def rewound(self) -> EpochBatches:
        """Return the same batches from the first epoch on."""
        return EpochBatches(self._features, self._plan, self._with_rows, self._first_epoch, self._start_step)


class BatchDataset(GeneratorDataset):
    """A dataset of complete batches whose every iterator starts at the first epoch it was made for.

    MindSpore (2.10) also iterates the source when only shapes or sizes are asked for; since each pass over the source
    is an epoch, every pipeline that is built gets a source of its own. The size is told and not declared to the
    pipeline, which refuses an epoch that is shorter, as the first one after a resume is.
    """

    def __init__(self, batches: EpochBatches, names: Tuple[str, ...], steps: int):
        super().__init__(batches, list(names), shuffle=False, num_parallel_workers=1, python_multiprocessing=False)
        self._steps = steps

    def parse(self, children=None):
        """Build the pipeline node on a rewound source."""
        self.source = self.source.rewound()
        return super().parse(children)

    def get_dataset_size(self) -> int:
        """Return the steps of a whole epoch."""
        return self._steps


def create_dataset(
    features: FeatureSet,
    batch_size: int,
    *,
    shuffle: bool,
    seed: int,
    epochs_done: int = 0,
    start_step: int = 0,
    rank: int = 0,
    num_ranks: int = 1,
    drop_remainder: bool = False,
    with_rows: bool = False,
) -> Dataset:
    """Return a MindSpore dataset of batches [batch_size, ...], one pass of it per epoch, without sink mode.

    It starts at step `start_step` of epoch `epochs_done` (both counted from 0). The last batch of an epoch is filled
    up, or left out with `drop_remainder`. `with_rows` appends the int32 column `row`: the row's index in `features`,
    -1 for fillers. Raises DataError when no batch is left.
    """
    plan = BatchPlan(len(features), batch_size, shuffle, seed, rank, num_ranks, drop_remainder)
    if not 0 <= start_step < plan.steps:
        raise UsageError(
            f"start_step={start_step}: an epoch has {plan.steps} steps, so it may be 0 to "
            f"{plan.steps - 1}; a finished epoch is told by epochs_done"
        )
    names = (*features.columns, ROW_COLUMN) if with_rows else tuple(features.columns)
    return BatchDataset(EpochBatches(features, plan, with_rows, epochs_done, start_step), names, plan.steps)
