"""The profile of some steps in short."""

from __future__ import annotations

import json
import re

import mindspore as ms
import pytest

from mindformers.train.profile_callback import ProfileMonitor
from mindformers.train.profile_summary import TRACE, Recorded, summary
from mindformers.train.progress import Progress
from tests.unit.test_callbacks import STEPS_PER_EPOCH, make_step, train


def record(name, begin, length, kind="HostCpuOps"):
    return {"ph": "X", "name": name, "ts": str(begin), "dur": str(length), "args": {"type": kind}}


def test_time_goes_to_operators_data_and_the_host_and_overlapping_operators_count_once(tmp_path):
    events = [
        record("Default/model/MatMul-op1", 1000, 4000),
        record("Gradients/Default/model/MatMul-op20", 3000, 4000),  # on another thread meanwhile: 6 ms together
        record("Default/optimizer-AdamW/Adam-op0", 9000, 2000),
        record("Default/model", 0, 20000, kind="scope"),
        {"ph": "M", "name": "process_name", "args": {"name": "CPU OP"}},
    ]
    (tmp_path / "trace_view.json").write_text(json.dumps(events))
    first, _, *kinds = summary(tmp_path, Recorded(steps=2, seconds=0.020, data_seconds=0.002)).splitlines()
    assert first == "2 steps of 10.0 ms: operators 40.0%, data 10.0%, host 50.0%"
    assert [line.split() for line in kinds] == [["MatMul", "4.000", "1", "80.0%"], ["Adam", "1.000", "0.5", "20.0%"]]


@pytest.mark.parametrize("content", [None, "[]"])
def test_a_trace_without_operators_of_a_cpu_has_no_summary(content, tmp_path):
    if content is not None:
        (tmp_path / "trace_view.json").write_text(content)
    assert summary(tmp_path, Recorded(1, 1.0, 0.0)) is None


def test_the_chosen_steps_of_a_run_are_recorded_and_no_others(tmp_path, caplog):
    caplog.set_level("INFO", logger="mindformers")
    ms.set_context(mode=ms.GRAPH_MODE)
    progress = Progress(STEPS_PER_EPOCH, 1)
    train(make_step(), 1, [ProfileMonitor(progress, tmp_path, start_step=2, stop_step=4)])
    written = (tmp_path / "summary.txt").read_text()
    assert written.startswith("3 steps of ") and written.strip() in caplog.text
    (trace,) = tmp_path.rglob(TRACE)
    means = [event for event in json.loads(trace.read_text()) if re.search(r"/ReduceMean-op\d+$", event["name"])]
    assert len(means) == 3
    assert progress.paused > 0
