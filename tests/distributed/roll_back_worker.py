"""One of two ranks, whose second one gets a batch that is not finite; writes what it did to OUTPUT/result-RANK.json."""

import json
import sys
from pathlib import Path

import mindspore as ms
from mindspore import communication

from mindformers.parallel.context import ParallelContext
from mindformers.train.checkpoint_callback import CheckpointMonitor
from mindformers.train.guard import FiniteGuard
from mindformers.train.hooks import in_order
from mindformers.train.progress import Progress
from tests.unit.test_callbacks import BATCH, STEPS_PER_EPOCH, make_step, train
from tests.unit.test_guard import COLUMNS, contents, dataset


def work(output: Path) -> None:
    """Train five steps; rank 1's fourth batch is broken, and its checkpoint of step 3 as well."""
    ms.set_context(mode=ms.GRAPH_MODE, device_target="CPU")
    communication.init()
    context = ParallelContext("CPU", communication.get_rank(), communication.get_group_size())
    ms.set_auto_parallel_context(parallel_mode="data_parallel", gradients_mean=True)
    progress = Progress(STEPS_PER_EPOCH, 1)
    saver = CheckpointMonitor(
        "mlp",
        output / str(context.rank),
        progress,
        1,
        keep_checkpoint_max=0,
        context=context,
        folder_of=lambda rank: output / str(rank),
        upload=lambda path: (path / "manifest.json").unlink() if path.name == "mlp_rank_1-1_3" else None,
    )
    step = make_step()
    guard = FiniteGuard(progress, "roll_back", COLUMNS, saver)
    train(step, 1, in_order([saver, guard]), dataset([3 * BATCH] if context.rank else []))
    updates = contents(step)["global_step"].tolist()
    (output / f"result-{context.rank}.json").write_text(json.dumps([guard._returned_to, updates]))


if __name__ == "__main__":
    work(Path(sys.argv[1]))
