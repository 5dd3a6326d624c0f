"""The floors of the package: a module never imports from a higher row."""

import ast
from pathlib import Path

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "mindformers"

ROWS = [  # the first prefix that fits a module says its row
    ("errors", 0),
    ("log", 0),
    ("registry", 0),
    ("lazy", 0),
    ("catalog", 0),
    ("tools/register", 0),
    ("tools/", 1),
    ("kernels/", 2),
    ("arch/", 1),
    ("config/", 1),
    ("weights/mapping", 1),
    ("models/hf_config", 1),
    ("listing", 1),
    ("generation/settings", 1),
    ("parallel/context", 2),
    ("parallel/apply", 2),
    ("parallel/", 1),
    ("nn/", 2),
    ("models/", 2),
    ("weights/", 2),
    ("tokenizers/", 2),
    ("data/", 3),
    ("optim/", 3),
    ("tuning/", 3),
    ("generation/", 3),
    ("train/", 4),
    ("evaluate/", 4),
    ("export/", 4),
    ("tasks/", 5),
    ("chat/", 4),
    ("serve/", 5),
    ("runners/", 6),
    ("training_arguments", 7),
    ("pipelines", 7),
    ("preview", 7),
    ("dry_run", 7),
    ("preprocess", 7),
    ("build", 7),
    ("run", 7),
    ("cli", 7),
    ("trainer", 7),
    ("__init__", 8),
]
PURE_FAMILY_FILES = ("config.py", "weights.py")
FORBIDDEN = [
    ("nn/", "parallel/"),
    ("nn/", "config/"),
    ("nn/", "train/"),
    ("models/", "parallel/"),
    ("models/", "train/"),
    ("models/", "config/"),  # but for the classes that also read a YAML file
    ("parallel/", "nn/"),
]


def modules():
    return sorted(PACKAGE.rglob("*.py"))


def name_of(file: Path) -> str:
    return file.relative_to(PACKAGE).with_suffix("").as_posix()


def row(name: str) -> int:
    parts = name.split("/")
    if parts[0] == "models" and len(parts) == 3 and f"{parts[2]}.py" in PURE_FAMILY_FILES:
        return 1
    if parts[0] == "models" and parts[-1] == "__init__":
        return 0  # names of classes, imported when they are used
    for prefix, number in ROWS:
        if name == prefix or prefix.endswith("/") and name.startswith(prefix):
            return number
    raise AssertionError(f"mindformers/{name}.py stands in no row: add it to ROWS")


def imports(file: Path):
    """Yield (module name, whether at import time) of every import from this package."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    top = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            top.update(id(inner) for inner in ast.walk(node) if isinstance(inner, (ast.Import, ast.ImportFrom)))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "mindformers":
            for alias in node.names:
                target = "/".join([*node.module.split(".")[1:], alias.name])
                if not (PACKAGE / f"{target}.py").is_file():
                    target = "/".join(node.module.split(".")[1:])
                if (PACKAGE / target).is_dir():
                    target = f"{target}/__init__" if target else "__init__"
                yield target, id(node) not in top
        elif isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name.split(".")[0] == "mindformers":
                    yield "/".join(alias.name.split(".")[1:]) or "__init__", id(node) not in top


@pytest.mark.parametrize("file", modules(), ids=name_of)
def test_a_module_imports_only_from_its_own_row_or_below(file):
    own = name_of(file)
    if own == "__init__":
        return
    for target, _ in imports(file):
        if own == "cli" and target == "data/corpus" or target == "__init__":
            continue
        assert row(target) <= row(own), f"{own} (row {row(own)}) imports {target} (row {row(target)})"


@pytest.mark.parametrize("file", modules(), ids=name_of)
def test_forbidden_pairs_stay_apart(file):
    own = name_of(file)
    for target, _ in imports(file):
        pair = [(low, high) for low, high in FORBIDDEN if own.startswith(low) and target.startswith(high)]
        if own == "models/auto" and target.startswith("config/"):
            continue
        assert not pair, f"{own} imports {target}"


@pytest.mark.parametrize("file", modules(), ids=name_of)
def test_the_pure_rows_never_import_the_framework(file):
    own = name_of(file)
    if row(own) > 1:
        return
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        names = (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
        assert not any(name.split(".")[0] in ("mindspore", "torch", "transformers") for name in names), own


def test_families_never_import_each_other():
    families = [folder.name for folder in (PACKAGE / "models").iterdir() if (folder / "config.py").is_file()]
    for family in families:
        for file in (PACKAGE / "models" / family).glob("*.py"):
            for target, _ in imports(file):
                others = [other for other in families if other != family and target.startswith(f"models/{other}")]
                assert not others, f"{name_of(file)} imports {target}"
