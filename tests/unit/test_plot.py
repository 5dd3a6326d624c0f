"""Pictures of runs."""

from __future__ import annotations

import json
import sys

import pytest

from mindformers.cli import main
from mindformers.errors import MissingExtraError, UsageError
from mindformers.train.plot import curve_of, metrics_of, plot, smoothed


def write_run(folder, steps=20, factor=1.0):
    folder = folder / "rank_0"
    folder.mkdir(parents=True)
    lines = [
        {"step": step, "loss": factor / step, "lr": 1e-3, "grad_norm": None, "samples_per_second": 10.0}
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


def test_a_long_curve_is_drawn_as_means_of_stretches():
    assert smoothed(([1, 2, 3, 4, 5], [1.0, 3.0, 5.0, 7.0, 9.0]), 3) == ([2, 4, 5], [2.0, 6.0, 9.0])


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
