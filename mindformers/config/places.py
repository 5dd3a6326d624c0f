"""Where configuration files are: in the installed package, or in the checkout beside it."""

from __future__ import annotations

from pathlib import Path
from typing import Dict, List

from mindformers.errors import UnknownNameError


def configs_folder() -> Path:
    """Return the folder that holds the shipped configuration files."""
    package = Path(__file__).resolve().parent.parent
    shipped = package / "configs"
    return shipped if shipped.is_dir() else package.parent / "configs"


def run_files() -> Dict[str, Path]:
    """Return name -> run file; ``run_<name>.yaml`` carries the name."""
    return {file.stem[len("run_") :]: file for file in sorted(configs_folder().rglob("run_*.yaml"))}


def find_config(name_or_path: str) -> Path:
    """Return the file behind a path, a path below the shipped configs, or a run name; raises UnknownNameError."""
    path = Path(name_or_path).expanduser()
    if path.is_file():
        return path
    parts: List[str] = [part for part in path.parts if part != ".."]
    shipped = configs_folder().joinpath(*parts[1:] if parts and parts[0] == "configs" else parts)
    if parts and shipped.is_file():
        return shipped
    files = run_files()
    if name_or_path not in files:
        raise UnknownNameError(
            "configuration", name_or_path, files, "Give a file, or a name of 'mindformers list configs'."
        )
    return files[name_or_path]
