"""Pictures of runs."""

from __future__ import annotations

import json
import sys

import pytest

from mindformers.cli import main
from mindformers.errors import MissingExtraError, UsageError
from mindformers.train.plot import curve_of, loss_limits, metrics_of, names_of, plot, smoothed


def write_run(folder, steps=20, factor=1.0):
    folder = folder / "rank_0"
    folder.mkdir(parents=True)
    lines = [
        {"step": step, "loss": 3 * factor / step, "lr": 1e-3, "grad_norm": None, "samples_per_second": 10.0}
        for step in range(1, steps + 1)
    ]
    lines.append({"step": steps, "eval/val_loss": factor})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return folder.parent


def test_two_runs_make_one_picture_with_both_names(tmp_path, capsys):
    runs = [str(write_run(tmp_path / name, 300, factor)) for name, factor in (("small", 1.0), ("large", 2.0))]
    assert main(["plot", *runs, "--output", str(tmp_path / "both.svg")]) == 0
    picture = (tmp_path / "both.svg").read_text()
    assert all(f"<!-- {text} -->" in picture for text in ("small", "large", "loss", "learning rate", "gradient norm"))
    assert capsys.readouterr().out.strip() == str(tmp_path / "both.svg")


def test_the_picture_of_one_run_lies_beside_its_metrics(tmp_path):
    run = write_run(tmp_path / "one")
    assert plot([str(run)]) == run / "rank_0" / "plot.png"
    assert (run / "rank_0" / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_values_that_were_not_finite_are_left_out():
    assert curve_of([{"step": 1, "loss": 2.0}, {"step": 2, "loss": None}, {"step": 3}], "loss") == ([1], [2.0])


def test_means_of_stretches_stand_in_their_middle():
    assert smoothed(([1, 2, 3, 4, 5, 6, 7], [1.0, 3.0, 5.0, 7.0, 9.0, 2.0, 9.0]), 3) == ([2, 5, 7], [3.0, 6.0, 9.0])


def test_runs_are_named_by_the_folders_in_which_they_differ(tmp_path):
    def named(*runs):
        return names_of([tmp_path / run / "rank_0" / "metrics.jsonl" for run in runs])

    assert named("small/runs/0001-train", "large/runs/0001-train") == ["small", "large"]
    assert named("out/runs/0001-train", "out/runs/0002-train") == ["0001-train", "0002-train"]
    assert named("a/x/runs/0001-train", "b/x/runs/0002-train", "b/x/runs/0001-train") == [
        "a/x/0001-train",
        "b/x/0002-train",
        "b/x/0001-train",
    ]
    assert named("small/runs/0001-train") == ["0001-train"]


def test_the_first_fall_of_the_loss_does_not_press_the_rest_to_the_bottom():
    losses = [(step, 9.0 if step <= 5 else 3.0 - step / 100) for step in range(1, 101)]
    assert loss_limits(losses) == pytest.approx((2.0 - 0.094, 2.94 + 0.094))
    assert loss_limits([]) == loss_limits([(1, 2.0)]) == (None, None)


def test_a_folder_without_metrics_is_named(tmp_path):
    with pytest.raises(UsageError, match=r"no metrics\.jsonl there"):
        metrics_of(tmp_path)


def test_another_kind_of_picture_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"\.png or \.svg"):
        plot([str(write_run(tmp_path / "one"))], str(tmp_path / "plot.bmp"))


def test_without_the_library_the_extra_is_named(tmp_path, monkeypatch):
    run = write_run(tmp_path / "one")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtraError, match=r"mindformers\[plot\]"):
        plot([str(run)])
