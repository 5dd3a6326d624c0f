"""How long a step waited for its batch."""

from __future__ import annotations

from types import SimpleNamespace

import mindspore as ms
from mindspore import Tensor

from mindformers.train import loss_monitor
from mindformers.train.loss_monitor import LossMonitor
from mindformers.train.progress import Progress
from mindformers.train.scalars import ScalarWriter, read_scalars
from mindformers.train.throughput import StepWork
from tests.unit.test_callbacks import BATCH, make_step


def test_the_wait_for_a_batch_is_that_between_two_steps_without_what_evaluation_took(monkeypatch, tmp_path):
    clock = SimpleNamespace(now=100.0)
    monkeypatch.setattr(loss_monitor, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    progress, scalars = Progress(2, 1), ScalarWriter(tmp_path)
    monitor = LossMonitor(progress, StepWork(BATCH), None, scalars)
    step = SimpleNamespace(compile_cache=[1], optimizer=make_step().optimizer)
    outputs = [Tensor(number, ms.float32) for number in (2.0, 0.0, 1.0, 3.0)]
    arguments = SimpleNamespace(cur_step_num=0, net_outputs=outputs, train_network=step)
    context = SimpleNamespace(original_args=lambda: arguments)
    monitor.on_train_epoch_begin(context)
    for data, work, evaluation in ((5.0, 7.0, 20.0), (0.5, 4.0, 0.0)):
        arguments.cur_step_num += 1
        clock.now += data
        monitor.on_train_step_begin(context)
        clock.now += work
        monitor.on_train_step_end(context)
        clock.now += evaluation
        progress.paused += evaluation
    scalars.close()
    first, second = read_scalars(tmp_path / "metrics.jsonl")
    assert (first["wait_seconds"], second["wait_seconds"]) == (5.0, 0.5)
    assert second["samples_per_second"] == BATCH / 4.5
