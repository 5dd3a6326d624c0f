"""`MindFormerRegister`: how users add their own models, datasets, metrics, callbacks, optimizers and schedules."""

from __future__ import annotations

from typing import Any, Callable, Dict, Optional

from mindformers.catalog import REGISTRY
from mindformers.errors import UsageError
from mindformers.registry import Entry, MindFormerModuleType

__all__ = ["MindFormerModuleType", "MindFormerRegister"]


class MindFormerRegister:
    """Static facade over the registry; a registered class can be named by ``type:`` in any YAML file."""

    @staticmethod
    def register(module_type: str = MindFormerModuleType.TOOLS, alias: Optional[str] = None) -> Callable[[type], type]:
        """Return a decorator that registers a class under its own name, and under `alias` too."""

        def decorate(cls: type) -> type:
            return MindFormerRegister.register_cls(cls, module_type, alias)

        return decorate

    @staticmethod
    def register_cls(cls: type, module_type: str = MindFormerModuleType.TOOLS, alias: Optional[str] = None) -> type:
        """Register `cls` under its name and `alias`; raises UsageError when either is taken."""
        aliases = (alias,) if alias and alias != cls.__name__ else ()
        REGISTRY.add(module_type, cls.__name__, Entry(cls, aliases=aliases, origin=cls.__module__))
        return cls

    @staticmethod
    def is_exist(module_type: str, class_name: str) -> bool:
        """Say whether a name or alias is registered."""
        return class_name in REGISTRY.spellings(module_type)

    @staticmethod
    def get_cls(module_type: str, class_name: str) -> Any:
        """Return the object behind a name; raises UnknownNameError with the nearest names."""
        return REGISTRY.resolve(module_type, class_name)

    @staticmethod
    def get_instance_from_cfg(
        cfg: Dict[str, Any], module_type: str, default_args: Optional[Dict[str, Any]] = None
    ) -> Any:
        """Build the component that ``cfg["type"]`` names with the other keys as arguments, over `default_args`."""
        if "type" not in cfg:
            raise UsageError(
                f"a {module_type} configuration needs the key 'type'; it has: {', '.join(sorted(cfg)) or 'no key'}"
            )
        arguments = {**(default_args or {}), **{key: value for key, value in cfg.items() if key != "type"}}
        return REGISTRY.resolve(module_type, cfg["type"])(**arguments)

    @staticmethod
    def get_instance(module_type: str, class_name: str, **kwargs: Any) -> Any:
        """Build the component `class_name` with keyword arguments."""
        return REGISTRY.resolve(module_type, class_name)(**kwargs)
