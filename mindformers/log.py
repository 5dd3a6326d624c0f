"""Logging: one logger, a stream for people and files per rank for the record.

Line formats follow MindFormers r0.3, since users parse them.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

STREAM_FORMAT = "%(asctime)s - %(name)s - %(levelname)s - %(message)s"
FILE_FORMAT = "[%(levelname)s] %(asctime)s [%(pathname)s:%(lineno)d] %(funcName)s: %(message)s"

logger = logging.getLogger("mindformers")


def start_stream(rank: int = 0, devices_per_node: int = 8) -> None:
    """Print INFO and above to standard error; of every node only its first device speaks."""
    logger.setLevel(logging.INFO)
    logger.propagate = False
    for handler in [item for item in logger.handlers if item.get_name() == "stream"]:
        logger.removeHandler(handler)
    if rank % devices_per_node:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.set_name("stream")
    handler.setFormatter(logging.Formatter(STREAM_FORMAT))
    logger.addHandler(handler)


def start_files(folder: Path) -> None:
    """Append INFO to `folder`/mindformers.log and ERROR to `folder`/error.log; replaces an earlier run's files."""
    folder.mkdir(parents=True, exist_ok=True)
    for handler in [item for item in logger.handlers if isinstance(item, logging.FileHandler)]:
        logger.removeHandler(handler)
        handler.close()
    for name, level in (("mindformers.log", logging.INFO), ("error.log", logging.ERROR)):
        handler = logging.FileHandler(folder / name, encoding="utf-8")
        handler.setLevel(level)
        handler.setFormatter(logging.Formatter(FILE_FORMAT))
        logger.addHandler(handler)


def banner(text: str) -> None:
    """Log a step of the run, e.g. ``.........Build Net For Train..........``."""
    logger.info(".........%s..........", text)
