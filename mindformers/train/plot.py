"""Curves of runs as a picture: loss, learning rate, gradient norm and throughput, several runs in one."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple

from mindformers.errors import MissingExtraError, OutputError, UsageError
from mindformers.train.scalars import FILE_NAME, read_scalars

PANELS = (
    ("loss", "loss"),
    ("lr", "learning rate"),
    ("grad_norm", "gradient norm"),
    ("samples_per_second", "samples/s"),
)
"""Scalar of every step -> title of its panel."""
EVALUATION = "eval/"
SUFFIXES = (".png", ".svg")
SMOOTHED = 200
"""Steps from which on a curve is drawn as means over so many stretches, with the steps pale behind."""

Curve = Tuple[List[int], List[float]]


def plot(runs: Sequence[str], output: Optional[str] = None) -> Path:
    """Draw `runs` (run folders, output folders or metrics.jsonl files) into `output`; return the picture's path.

    Without `output` it is plot.png in the folder of the one run, in the current folder for several.

    Raises:
        UsageError: for a run without metrics, or a picture that is neither .png nor .svg.
        OutputError: when the picture cannot be written.
        MissingExtraError: when matplotlib is not installed.
    """
    files = [metrics_of(Path(run)) for run in runs]
    target = Path(output) if output else (files[0].parent if len(files) == 1 else Path()) / "plot.png"
    if target.suffix not in SUFFIXES:
        raise UsageError(f"{target}: a picture ends in {' or '.join(SUFFIXES)}")
    figure = _draw({name: read_scalars(file) for name, file in zip(_names(files), files)})
    try:
        figure.savefig(target, dpi=120)
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
    return target


def metrics_of(run: Path) -> Path:
    """Return the metrics.jsonl of a run folder, an output folder (its newest training run), a rank's, or the file."""
    for candidate in (run, run / FILE_NAME, run / "rank_0" / FILE_NAME):
        if candidate.is_file():
            return candidate
    raise UsageError(f"{run}: no {FILE_NAME} there; name a run folder such as output/runs/0001-train")


def curve_of(records: Sequence[Mapping[str, Optional[float]]], name: str) -> Curve:
    """Return the steps and values of a scalar; values that were not finite are left out."""
    points = [(int(record["step"] or 0), record[name]) for record in records if record.get(name) is not None]
    return [step for step, _ in points], [float(value) for _, value in points if value is not None]


def smoothed(curve: Curve, stretches: int = SMOOTHED) -> Curve:
    """Return means over stretches of equal length; a short curve as it is."""
    steps, values = curve
    length = -(-len(steps) // stretches)
    if length < 2:
        return curve
    starts = range(0, len(steps), length)
    return (
        [steps[min(start + length, len(steps)) - 1] for start in starts],
        [sum(values[start : start + length]) / len(values[start : start + length]) for start in starts],
    )


def _names(files: Sequence[Path]) -> List[str]:
    """Return a legend for each file: its run's folder, with as many folders above as tell all apart."""
    parts = [[part for part in file.resolve().parent.parts if part not in ("rank_0", "runs")] for file in files]
    for depth in range(1, max(len(part) for part in parts) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            break
    return names


def _draw(runs: Dict[str, List[Mapping[str, Optional[float]]]]) -> Any:
    figure_class = _figure_class()
    figure = figure_class(figsize=(12, 8), layout="constrained")
    grid = figure.subplots(2, 2)
    for axes, (scalar, title) in zip(grid.flat, PANELS):
        for number, (name, records) in enumerate(runs.items()):
            color, curve = f"C{number}", curve_of(records, scalar)
            if len(curve[0]) > SMOOTHED:
                axes.plot(*curve, color=color, alpha=0.25, linewidth=0.8)
            axes.plot(*smoothed(curve), color=color, label=name)
        axes.set(title=title, xlabel="step")
        axes.grid(alpha=0.3)
    _draw_evaluations(grid.flat[0], runs)
    handles, labels = grid.flat[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(3, len(labels)))
    return figure


def _draw_evaluations(axes: Any, runs: Dict[str, List[Mapping[str, Optional[float]]]]) -> None:
    """Add the losses of evaluation as points to the panel of the loss."""
    for number, (name, records) in enumerate(runs.items()):
        scalars = sorted({key for record in records for key in record if key.startswith(EVALUATION) and "loss" in key})
        for scalar in scalars:
            axes.plot(*curve_of(records, scalar), "o", color=f"C{number}", markersize=5, label=f"{name} {scalar}")


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plot", "drawing curves") from error
    return Figure
