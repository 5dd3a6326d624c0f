"""Tables of what there is: tasks, models, configurations."""

from __future__ import annotations

from typing import List, Sequence

from mindformers.arch.paths import count, parameter_table
from mindformers.arch.stacks import HEAD_OF_CLASS, Head
from mindformers.catalog import FAMILIES, REGISTRY, TASKS
from mindformers.config.model_files import DescribedModel, model_files, read_model
from mindformers.config.places import configs_folder, run_files
from mindformers.config.source import read_file
from mindformers.registry import BUILT_IN
from mindformers.registry import MindFormerModuleType as Type


def tasks() -> str:
    """Return one line per task: name, ending of model classes, families, dataset, runner, parallel context."""
    rows: List[Sequence[str]] = [("task", "head", "models", "dataset", "runner", "parallel context")]
    for task in REGISTRY.names(Type.TRAINER):
        known, entry = TASKS.get(task), REGISTRY.entry(Type.TRAINER, task)
        name = ", ".join((task, *filter(str.islower, entry.aliases)))  # the others are r0.3's class names
        if entry.target is None:
            rows.append((name, "", "(can be configured, not run yet)", "", "", ""))
        elif known is None:
            rows.append((name, "", "your own", "your own", "runners.train", "data parallel"))
        else:
            models_of_it = ", ".join(_models_for(known.head))
            rows.append((name, known.head, models_of_it, known.dataset, known.runner, known.context))
    return table(rows)


def models() -> str:
    """Return one line per named model: its class and the run file that carries it."""
    rows: List[Sequence[str]] = [("model", "class", "run file")]
    for name, file in run_files().items():
        tree = read_file(file).tree
        arch = _find_arch(file, tree)
        rows.append((name, arch, str(file.relative_to(configs_folder().parent))))
    return table([*rows, *((name, name, "(registered by you)") for name in _own_models())])


def parameters() -> str:
    """Return one line per shipped size: its family, configuration class, head and number of parameters.

    Nothing is allocated: the numbers come from the table of parameters. `counted_head` says what is counted.
    """
    rows: List[Sequence[str]] = [("model", "family", "configuration", "with head", "parameters", "")]
    for name, file in model_files().items():
        described = read_model(file)
        number = parameter_count(described)
        row = (name, described.config.model_type, type(described.config).__name__, counted_head(described))
        rows.append((*row, f"{number:,}", rounded(number)))
    return table(rows, right=(4, 5))


def parameter_count(described: DescribedModel) -> int:
    """Return the number of trainable parameters; a tied output table is counted once."""
    return count(parameter_table(described.config.arch(counted_head(described))))


def counted_head(described: DescribedModel) -> Head:
    """Return the head that counts: that of the class which the file names, else the one of the published number.

    Published are encoders with their pooler and without a task's head, and text generators with their output table.
    """
    family = FAMILIES[described.config.model_type]
    named = [ending for ending, name in family.classes.items() if name == described.class_name]
    endings = [item for item in ("ForCausalLM", "ForSeq2SeqLM") if item in family.heads]
    ending = (named or endings or [""])[0]
    return "pooler" if ending == "" and not endings else HEAD_OF_CLASS[ending]


def rounded(number: int) -> str:
    """Return a number in billions or millions: ``6.74 B``, ``109.5 M``."""
    return f"{number / 1e9:.2f} B" if number >= 999_950_000 else f"{number / 1e6:.1f} M"


def configs() -> str:
    """Return one line per run file: its name and what it is for."""
    rows: List[Sequence[str]] = [("name", "file", "about")]
    for name, file in run_files().items():
        first = file.read_text(encoding="utf-8").splitlines()[:1]
        about = first[0].lstrip("# ") if first and first[0].startswith("#") else ""
        rows.append((name, str(file.relative_to(configs_folder().parent)), about))
    return table(rows)


def table(rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """Return rows as columns of even width, the first row as the head; the columns `right` end evenly."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "  ".join(
            cell.rjust(width) if column in right else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths))
        ).rstrip()
        for row in rows
    ]
    return "\n".join([lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def _models_for(head: str) -> List[str]:
    """Return the families that have a head, and the user's own classes whose names end so."""
    families = [name for name, family in FAMILIES.items() if head in family.heads]
    return [*families, *(name for name in _own_models() if name.endswith(head))]


def _own_models() -> List[str]:
    return [name for name in REGISTRY.names(Type.MODELS) if REGISTRY.entry(Type.MODELS, name).origin != BUILT_IN]


def _find_arch(file, tree) -> str:
    from mindformers.config.layers import load

    arch = load(file).tree.get("model", {}).get("arch", {})
    return arch.get("type", "") if isinstance(arch, dict) else str(arch or tree.get("trainer", {}).get("type", ""))
