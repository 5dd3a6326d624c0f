"""Habits of the tree: file length, family names, no skipped checks, lint and types clean, links that resolve."""

import ast
import re
import shutil
import subprocess
import sys

import pytest

from tests.conftest import ROOT

PACKAGE = ROOT / "mindformers"
LONGEST = 400
NO_NAMES = ("utils.py", "common.py", "helper.py", "helpers.py", "misc.py")
PYTHON = sorted([*PACKAGE.rglob("*.py"), *(ROOT / "scripts").rglob("*.py"), *(ROOT / "tests").rglob("*.py")])
CPP = sorted(file for folder in (PACKAGE, ROOT / "tests") for end in ("cc", "h") for file in folder.rglob(f"*.{end}"))
WIDEST = 120
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "configs").rglob("*.md")])


def test_no_python_file_is_longer_than_four_hundred_lines():
    long = {str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines()) for file in PYTHON}
    assert not {name: length for name, length in long.items() if length > LONGEST}


def test_cpp_is_as_narrow_as_python():
    lines = [(file, number, line) for file in CPP for number, line in enumerate(file.read_text().splitlines(), 1)]
    assert lines and not [f"{file}:{number}" for file, number, line in lines if len(line) > WIDEST]


def test_no_file_is_a_drawer_for_leftovers():
    assert not [str(file) for file in PYTHON if file.name in NO_NAMES]


def test_family_names_stand_only_where_families_live():
    families = [folder.name for folder in (PACKAGE / "models").iterdir() if (folder / "config.py").is_file()]
    allowed = ("catalog.py", "models/", "tokenizers/", "config/options.py")
    guilty = []
    for file in PACKAGE.rglob("*.py"):
        name = file.relative_to(PACKAGE).as_posix()
        if name.startswith(allowed[1:]) or name == allowed[0]:
            continue
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if text in families:
                guilty.append(f"{name}:{node.lineno}: '{text}'")
    assert not guilty


def test_every_test_file_is_collected():
    files = {file.name for file in (ROOT / "tests").rglob("*.py")} - {"conftest.py", "tolerances.py", "__init__.py"}
    assert not [name for name in files if not name.startswith("test_") and "test" in name.lower()]


def test_a_skipped_test_says_what_would_run_it():
    for file in (ROOT / "tests").rglob("test_*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in (
                "pytest.skip",
                "pytest.mark.skip",
                "pytest.mark.skipif",
                "pytest.importorskip",
                "pytest.mark.xfail",
            ):
                said = ast.unparse(node)
                assert "reason" in said or ast.unparse(node.func) == "pytest.skip" and node.args, f"{file.name}: {said}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda file: str(file.relative_to(ROOT)))
def test_links_of_a_document_resolve(document):
    for link in re.findall(r"\]\(([^)#\s]+)", document.read_text(encoding="utf-8")):
        if not link.startswith(("http:", "https:", "mailto:")):
            assert (document.parent / link).exists(), f"{document.name}: {link}"


@pytest.mark.parametrize("tool", [("ruff", "check", "."), ("mypy",)], ids=lambda tool: tool[0])
def test_lint_and_types_are_clean(tool):
    if (
        shutil.which(tool[0]) is None
        and subprocess.run([sys.executable, "-m", tool[0], "--version"], capture_output=True).returncode
    ):
        pytest.skip(f"{tool[0]} is not installed; pip install 'mindformers[test]' brings it")
    result = subprocess.run([sys.executable, "-m", *tool], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
