"""Which heads a file of weights holds: what its config.json says, and what its names show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Callable, Collection, Dict, List, Mapping, Optional

from mindformers.arch.paths import ParameterSpec, parameter_table
from mindformers.arch.stacks import HEAD_OF_CLASS, Head
from mindformers.catalog import MODEL_ALIASES, Family
from mindformers.weights.mapping import Plan, WeightMap

Table = Dict[str, ParameterSpec]
Planner = Callable[[Collection[str]], Plan]


@dataclass(frozen=True)
class Content:
    """What a file holds."""

    table: Table
    """Our paths, those that are missing from the file included."""
    plan: Plan
    ending: Optional[str]
    """Ending of the class that config.json names ("" for the model without a head); None when it names none."""

    def is_base(self, names: Collection[str], weight_map: WeightMap) -> bool:
        """Return whether Hugging Face's names for all this carry no prefix; `names` are those of the file.

        A decoder with a tied head has no path of its head, so in our names and with a config.json that names no class
        it cannot be told from the base model; Hugging Face loads it from either names.
        """
        if any(path.startswith(weight_map.headless) for path in self.table):
            return False
        if self.ending is not None:
            return self.ending == ""
        return not any(name.startswith(weight_map.prefix) for name in names)


def content(values: Mapping[str, Any], config: Any, family: Family, planner: Planner) -> Content:
    """Return the smallest set of heads that explains the names of a file, beginning with the one that config.json says.

    `values` are those of config.json, `config` is the family's configuration made of them; `planner` matches the
    names with paths. A head of which the file has only a part is taken too, so that the rest comes out as missing.
    """
    ending = _ending(values, family)
    heads: List[Head] = ["pooler", *(HEAD_OF_CLASS[item] for item in family.heads)]
    tables = [parameter_table(config.arch(head)) for head in heads]
    table = parameter_table(config.arch(HEAD_OF_CLASS[ending or ""]))
    plan = planner(table)
    while True:
        # What is chosen already keeps its shapes: two heads may call matrices of different sizes by one path.
        larger = [{**other, **table} for other in tables if other.keys() - table.keys()]
        grown = [(other, planner(other)) for other in larger]
        useful = [pair for pair in grown if _converted(pair[1]) > _converted(plan)]
        whole = [pair for pair in useful if set(pair[1].missing) <= set(plan.missing)]
        if not whole:
            break
        table, plan = max(whole, key=lambda pair: (_converted(pair[1]), -len(pair[0])))
    if useful:
        table, plan = min(useful, key=lambda pair: len(pair[1].missing))
    return Content(table, plan, ending)


def _converted(plan: Plan) -> int:
    return sum(len(step.paths) for step in plan.steps)


def _ending(values: Mapping[str, Any], family: Family) -> Optional[str]:
    """Return the ending of the catalog's class that config.json names; None when it names none of them."""
    canonical = {alias: name for name, aliases in MODEL_ALIASES.items() for alias in aliases}
    endings = {name: ending for ending, name in family.classes.items()}
    named = values.get("architectures")
    known = [canonical.get(name, name) for name in named if isinstance(name, str)] if isinstance(named, list) else []
    return next((endings[name] for name in known if name in endings), None)
