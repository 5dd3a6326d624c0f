"""Names of components and what they stand for: lazy, suggesting, refusing collisions.

Built-in names are declared in `catalog.py`; users add their own with `MindFormerRegister`. A name belongs to one
module type (`MindFormerModuleType`), so an optimizer and a callback may share a name.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import inspect
import sys
from dataclasses import MISSING, dataclass, field, make_dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple, Union

from mindformers.errors import MindFormersError, UnknownNameError, UsageError


class MindFormerModuleType:
    """The kinds of component a configuration can name; the values are the keys of the registry."""

    TRAINER = "trainer"
    PIPELINE = "pipeline"
    PROCESSOR = "processor"
    TOKENIZER = "tokenizer"
    DATASET = "dataset"
    MASK_POLICY = "mask_policy"
    DATASET_LOADER = "dataset_loader"
    DATASET_SAMPLER = "dataset_sampler"
    TRANSFORMS = "transforms"
    ENCODER = "encoder"
    MODELS = "models"
    MODULES = "modules"
    TRANSFORMER = "transformer"
    BASE_LAYER = "base_layer"
    CORE = "core"
    HEAD = "head"
    LOSS = "loss"
    LR = "lr"
    OPTIMIZER = "optimizer"
    CONTEXT = "context"
    CALLBACK = "callback"
    WRAPPER = "wrapper"
    METRIC = "metric"
    CONFIG = "config"
    TOOLS = "tools"
    FEATURE_EXTRACTOR = "feature_extractor"
    RUNNER = "runner"


MODULE_TYPES = tuple(value for key, value in vars(MindFormerModuleType).items() if key.isupper())

BUILT_IN = "mindformers.catalog"

SUPPLIED: Dict[str, Tuple[str, ...]] = {
    MindFormerModuleType.MODELS: ("config",),
    MindFormerModuleType.OPTIMIZER: ("params", "learning_rate"),
    MindFormerModuleType.LR: ("total_steps",),
}
"""Parameters of a user's class that the run fills in, so that they are no keys of the configuration."""


@dataclass(frozen=True)
class Entry:
    """One registered name."""

    target: Union[str, Any, None]
    """The object, or ``module:object`` imported at first use; None: it can be configured, no code carries it yet."""
    options: Optional[str] = None
    """``module:Dataclass`` of the keys the configuration may give; None: the parameters of the target itself."""
    aliases: Tuple[str, ...] = ()
    """Other accepted spellings; the first name is the one to use."""
    about: str = ""
    origin: str = BUILT_IN
    """Where it was registered, for the message of a collision."""


class Registry:
    """Entries by module type and name."""

    def __init__(self) -> None:
        self._entries: Dict[Tuple[str, str], Entry] = {}
        self._names: Dict[Tuple[str, str], str] = {}

    def add(self, module_type: str, name: str, entry: Entry) -> None:
        """Register `entry`; raises UsageError when the name or an alias is taken or the module type is unknown."""
        if module_type not in MODULE_TYPES:
            raise UnknownNameError("module type", module_type, MODULE_TYPES)
        for spelling in (name, *entry.aliases):
            taken = self._names.get((module_type, spelling))
            if taken is not None:
                origin = self._entries[(module_type, taken)].origin
                raise UsageError(
                    f"{module_type} '{spelling}' is registered already by {origin}; "
                    f"{entry.origin} must choose another name or alias"
                )
        self._entries[(module_type, name)] = entry
        for spelling in (name, *entry.aliases):
            self._names[(module_type, spelling)] = name

    def names(self, module_type: str) -> List[str]:
        """Return the canonical names of one module type, in the order of registration."""
        return [name for kind, name in self._entries if kind == module_type]

    def spellings(self, module_type: str) -> List[str]:
        """Return every accepted spelling of one module type, aliases included."""
        return [name for kind, name in self._names if kind == module_type]

    def canonical(self, module_type: str, name: str) -> str:
        """Return the canonical name for any accepted spelling; raises UnknownNameError with the nearest ones."""
        found = self._names.get((module_type, name))
        if found is None:
            raise UnknownNameError(module_type, name, self.spellings(module_type))
        return found

    def entry(self, module_type: str, name: str) -> Entry:
        """Return the entry behind a name or alias."""
        return self._entries[(module_type, self.canonical(module_type, name))]

    def resolve(self, module_type: str, name: str) -> Any:
        """Import and return the object behind a name or alias."""
        entry = self.entry(module_type, name)
        if entry.target is None:
            raise UsageError(
                f"{module_type} '{name}' can be configured and checked, but this version cannot run it yet"
            )
        return load_object(entry.target) if isinstance(entry.target, str) else entry.target

    def options(self, module_type: str, name: str) -> type:
        """Return the dataclass of the options of a component, made from the signature where none is declared."""
        entry = self.entry(module_type, name)
        if entry.options is not None:
            return load_object(entry.options)
        return signature_options(self.resolve(module_type, name), name, SUPPLIED.get(module_type, ()))


def load_object(target: str) -> Any:
    """Import ``module:object``."""
    module, _, attribute = target.partition(":")
    return getattr(importlib.import_module(module), attribute)


def signature_options(target: Callable, name: str, supplied: Tuple[str, ...] = ()) -> type:
    """Return a dataclass with one field per keyword that `target` takes, less those that the run supplies."""
    fields: List[Tuple[Any, ...]] = []
    for parameter in inspect.signature(target).parameters.values():
        if parameter.name in supplied or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        annotation: Any = Any if parameter.annotation is parameter.empty else parameter.annotation
        if not isinstance(annotation, type) or annotation.__module__ != "builtins":
            annotation = Any  # only plain types are checked: others may need names we cannot see
        if annotation is float:
            annotation = Union[float, int]
        if parameter.default is None:
            annotation = Optional[annotation]
        default = MISSING if parameter.default is parameter.empty else parameter.default
        if default is MISSING:
            fields.append((parameter.name, annotation))
        else:
            fields.append((parameter.name, annotation, field(default_factory=functools.partial(_same, default))))
    fields.sort(key=len)
    return make_dataclass(f"{name}Options", fields, frozen=True)


def _same(value: Any) -> Any:
    return value


def register_folder(folder: Union[str, Path]) -> List[str]:
    """Import every ``*.py`` of a user's folder so that its registrations take effect; returns the module names.

    Raises UsageError for a folder that does not exist or holds no Python file, and names the file that fails.
    """
    root = Path(folder).expanduser().resolve()
    files = sorted(root.glob("*.py")) if root.is_dir() else []
    if not files:
        raise UsageError(f"--register_path {folder}: no folder with Python files there")
    if str(root) not in sys.path:
        sys.path.insert(0, str(root))
    loaded = []
    for file in files:
        name = f"mindformers_user.{root.name}.{file.stem}"
        if name not in sys.modules:
            spec = importlib.util.spec_from_file_location(name, file)
            assert spec is not None and spec.loader is not None  # a .py file always has both
            module = importlib.util.module_from_spec(spec)
            sys.modules[name] = module
            try:
                spec.loader.exec_module(module)
            except MindFormersError:
                del sys.modules[name]
                raise
            except Exception as error:  # a user's file may fail in any way; it is named with its error
                del sys.modules[name]
                raise UsageError(
                    f"--register_path {folder}: {file.name} cannot be imported: {type(error).__name__}: {error}"
                ) from error
        loaded.append(name)
    return loaded
