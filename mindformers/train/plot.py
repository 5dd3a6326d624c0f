"""Curves of runs as a picture: loss, learning rate, gradient norm and throughput, several runs in one."""

from __future__ import annotations

from pathlib import Path
from statistics import fmean as mean
from typing import Any, List, Mapping, Optional, Sequence, Tuple

from mindformers.errors import MissingExtraError, OutputError, UsageError
from mindformers.train.scalars import FILE_NAME, read_scalars

PANELS = (
    ("loss", "loss"),
    ("lr", "learning rate"),
    ("grad_norm", "gradient norm"),
    ("samples_per_second", "samples a second"),
)
"""Scalar of every step -> title of its panel."""
EVALUATION = "eval/"
SUFFIXES = (".png", ".svg")
STRETCHES = 60
"""Means that the longest run is drawn as, with the steps pale behind; those of other runs are as many steps long."""
START = 0.05
"""Share of the steps whose losses may leave the panel at the top, so that the first fall does not press all others to
its bottom."""

Curve = Tuple[List[int], List[float]]
Records = Sequence[Mapping[str, Optional[float]]]


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
    figure = _draw({name: read_scalars(file) for name, file in zip(names_of(files), files)})
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


def curve_of(records: Records, name: str) -> Curve:
    """Return the steps and values of a scalar; values that were not finite are left out."""
    points = [(int(record["step"] or 0), record[name]) for record in records if record.get(name) is not None]
    return [step for step, _ in points], [float(value) for _, value in points if value is not None]


def smoothed(curve: Curve, length: int) -> Curve:
    """Return means over stretches of so many values, each in the middle of its steps."""
    steps, values = curve
    stretches = [slice(start, start + length) for start in range(0, len(steps), length)]
    return [round(mean(steps[part])) for part in stretches], [mean(values[part]) for part in stretches]


def loss_limits(points: Sequence[Sequence[float]]) -> Tuple[Optional[float], Optional[float]]:
    """Return the bottom and the top that show all losses, (step, loss) each, but those of the start that are higher."""
    first = START * max((step for step, _ in points), default=0.0)
    later = [loss for step, loss in points if step > first]
    margin = 0.1 * (max(later) - min(later)) if later else 0.0
    if not margin:
        return None, None
    return min(loss for _, loss in points) - margin, max(later) + margin


def names_of(files: Sequence[Path]) -> List[str]:
    """Return a name for each file: the folders above it from the first to the last one in which they differ."""
    parts = [[part for part in file.resolve().parent.parts if part not in ("rank_0", "runs")] for file in files]
    while len(parts) > 1 and len({part[-1] for part in parts}) == 1 and min(map(len, parts)) > 1:
        parts = [part[:-1] for part in parts]
    for depth in range(1, max(len(part) for part in parts) + 1):
        names = ["/".join(part[-depth:]) for part in parts]
        if len(set(names)) == len(names):
            break
    return names


def _draw(runs: Mapping[str, Records]) -> Any:
    figure = _figure_class()(figsize=(12, 8), layout="constrained")
    grid = figure.subplots(2, 2, sharex=True)
    panels = dict(zip((scalar for scalar, _ in PANELS), grid.flat))
    length = max(1, round(max(len(records) for records in runs.values()) / STRETCHES))
    for (scalar, title), axes in zip(PANELS, grid.flat):
        for number, (name, records) in enumerate(runs.items()):
            curve, is_noisy = curve_of(records, scalar), length > 1 and scalar != "lr"
            if is_noisy:
                axes.plot(*curve, color=f"C{number}", alpha=0.25, linewidth=0.8)
            shown = smoothed(curve, length) if is_noisy else curve
            axes.plot(*shown, color=f"C{number}", linewidth=1.8, label=name)
        axes.set_title(title, loc="left", pad=10)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in grid[1]:
        axes.set_xlabel("step")
    panels["grad_norm"].set_yscale("log", subs=[2, 5])
    panels["grad_norm"].yaxis.set_major_formatter("{x:g}")
    panels["grad_norm"].yaxis.set_minor_formatter("{x:g}")
    panels["samples_per_second"].set_ylim(bottom=0)
    _draw_evaluations(panels["loss"], runs)
    lines = panels["loss"].lines
    panels["loss"].set_ylim(loss_limits([point for line in lines for point in line.get_xydata().tolist()]))
    handles, labels = panels["loss"].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=min(4, len(labels)), frameon=False)
    return figure


def _draw_evaluations(axes: Any, runs: Mapping[str, Records]) -> None:
    """Add the losses of evaluation as points in the colour of their run to the panel of the loss."""
    keys = {key for records in runs.values() for record in records for key in record}
    for scalar, marker in zip(sorted(key for key in keys if key.startswith(EVALUATION) and "loss" in key), "osD^v"):
        for number, records in enumerate(runs.values()):
            axes.plot(*curve_of(records, scalar), marker, color=f"C{number}", markersize=5)
        axes.plot([], [], marker, color="0.4", label=scalar)


def _figure_class() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingExtraError("matplotlib", "plot", "drawing curves") from error
    return Figure
