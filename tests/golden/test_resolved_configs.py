"""The resolved form of every shipped run file, checked in as text; UPDATE_GOLDEN=1 writes it anew."""

import os
from pathlib import Path

import pytest
import yaml

from mindformers.config.check import check_file
from mindformers.config.explain import plain
from mindformers.config.model_files import model_files
from tests.conftest import CONFIGS, ROOT

FOLDER = Path(__file__).parent / "resolved_configs"
RUN_FILES = sorted(CONFIGS.rglob("run_*.yaml"))


def resolved(file: Path) -> str:
    tree = plain(check_file(file).run)
    return yaml.safe_dump(tree, sort_keys=False, allow_unicode=True)


@pytest.mark.parametrize("file", RUN_FILES, ids=lambda file: file.stem)
def test_a_run_file_resolves_as_recorded(file):
    golden = FOLDER / f"{file.stem}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(resolved(file), encoding="utf-8")
    assert golden.is_file(), f"record it: UPDATE_GOLDEN=1 python -m pytest {Path(__file__).relative_to(ROOT)}"
    assert resolved(file) == golden.read_text(encoding="utf-8")


def test_every_yaml_file_is_a_run_file_or_part_of_one_or_a_model_size():
    parts = {file.resolve() for file in model_files().values()}  # tests/unit/test_published_sizes.py reads each

    def follow(file: Path) -> None:
        parts.add(file.resolve())
        for base in (yaml.safe_load(file.read_text(encoding="utf-8")) or {}).get("base_config", []):
            follow(file.parent / base)

    for file in RUN_FILES:
        follow(file)
    assert not [str(file) for file in CONFIGS.rglob("*.yaml") if file.resolve() not in parts]


def test_every_recorded_file_belongs_to_a_run_file():
    assert {file.stem for file in FOLDER.glob("*.yaml")} == {file.stem for file in RUN_FILES}
