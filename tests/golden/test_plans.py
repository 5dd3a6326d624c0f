"""The plan of every shipped run file of several devices, checked in as text; UPDATE_GOLDEN=1 writes it anew."""

import os
from pathlib import Path

import pytest

from mindformers.config.check import check_file
from mindformers.parallel.command import Wanted, plan_command
from tests.conftest import CONFIGS, ROOT

FOLDER = Path(__file__).parent / "plans"


def is_parallel(file: Path) -> bool:
    ways = check_file(file).run.parallel_config
    return ways.data_parallel * ways.model_parallel * ways.pipeline_stage > 1


RUN_FILES = [file for file in sorted(CONFIGS.rglob("run_*.yaml")) if is_parallel(file)]


@pytest.mark.parametrize("file", RUN_FILES, ids=lambda file: file.stem)
def test_a_job_has_the_recorded_plan_and_fits_its_devices(file):
    text = plan_command(check_file(file), Wanted()) + "\n"
    golden = FOLDER / f"{file.stem}.txt"
    if os.environ.get("UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text, encoding="utf-8")
    assert golden.is_file(), f"record it: UPDATE_GOLDEN=1 python -m pytest {Path(__file__).relative_to(ROOT)}"
    assert text == golden.read_text(encoding="utf-8")
    assert "\nFits: " in text


def test_every_recorded_plan_belongs_to_a_run_file():
    assert {file.stem for file in FOLDER.glob("*.txt")} == {file.stem for file in RUN_FILES}
