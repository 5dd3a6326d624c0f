"""What is split where: the only table of it.

`PARAMETERS` names the logical axis of each dimension of a parameter, `OPERATORS` those of an operator's inputs,
`mesh_axes` the axis of the mesh that carries a logical axis. Plans, placement of operators and checkpoints of several
devices read layouts from here.
"""

from __future__ import annotations

import functools
from fnmatch import fnmatchcase
from typing import Dict, Literal, Optional, Tuple

from mindformers.errors import suggestion
from mindformers.parallel.mesh import Axis

Logical = Literal["batch", "sequence", "heads", "kv_heads", "mlp", "vocab", "layers"]
Dims = Tuple[Optional[Logical], ...]

PARAMETERS: Tuple[Tuple[str, Dims], ...] = (
    ("embed.tokens.weight", ("vocab", None)),
    ("embed.norm.*", (None,)),
    ("embed.*.weight", (None, None)),
    ("embed.project.bias", (None,)),
    ("*relative.weight", (None, None)),
    ("*layers.*.q.weight", ("heads", None)),
    ("*layers.*.q.bias", ("heads",)),
    ("*layers.*.[kv].weight", ("kv_heads", None)),
    ("*layers.*.[kv].bias", ("kv_heads",)),
    ("*layers.*.o.weight", (None, "heads")),
    ("*layers.*.o.bias", (None,)),
    ("*layers.*.mlp.gate.weight", ("mlp", None)),
    ("*layers.*.mlp.gate.bias", ("mlp",)),
    ("*layers.*.mlp.up.weight", ("mlp", None)),
    ("*layers.*.mlp.up.bias", ("mlp",)),
    ("*layers.*.mlp.down.weight", (None, "mlp")),
    ("*layers.*.mlp.down.bias", (None,)),
    ("*layers.*.norm_*", (None,)),
    ("*norm_out.*", (None,)),
    ("pooler.weight", (None, None)),
    ("pooler.bias", (None,)),
    ("head.norm.*", (None,)),
    ("head.weight", ("vocab", None)),
    ("head.bias", ("vocab",)),
    ("head.*.weight", (None, None)),
    ("head.*.bias", (None,)),
)
"""Pattern of canonical paths -> logical axis of each dimension, None for a whole one; the first match holds."""

TOKENS: Dims = ("batch", "sequence")
"""Axes of the ids of tokens."""

OPERATORS: Tuple[Tuple[str, Tuple[Dims, ...]], ...] = (
    ("*embed.tokens.gather", (("vocab", None), TOKENS)),
    ("*layers.*.q.product.matmul", (("batch", None), ("heads", None))),
    ("*layers.*.[kv].product.matmul", (("batch", None), ("kv_heads", None))),
    ("*layers.*.o.product.matmul", (("batch", "heads"), (None, "heads"))),
    ("*layers.*.mlp.gate.product.matmul", (("batch", None), ("mlp", None))),
    ("*layers.*.mlp.up.product.matmul", (("batch", None), ("mlp", None))),
    ("*layers.*.mlp.down.product.matmul", (("batch", "mlp"), (None, "mlp"))),
    ("*layers.*.attend*.scores", (("batch", "heads", None, None), ("batch", "heads", None, None))),
    ("*layers.*.attend*.mix", (("batch", "heads", None, None), ("batch", "heads", None, None))),
    ("*layers.*.attend_with_dropout.placed_mask.spread", (("batch", None, None, None), (None, "heads", None, None))),
    ("*layers.*.attend_with_dropout.placed_mask.draw", (("batch", "heads", None, None), (None, None, None, None))),
    ("*layers.*.mlp.dropout.placed_mask.draw", (("batch", None, None), (None, None, "mlp"))),
    ("head.losses.product.matmul", (("batch", None), ("vocab", None))),
    ("head.losses.losses.greatest", (("batch", "vocab"),)),
    ("head.losses.losses.centre", (("batch", "vocab"), ("batch", None))),
    ("head.losses.losses.exponential", (("batch", "vocab"),)),
    ("head.losses.losses.total", (("batch", "vocab"),)),
    ("head.losses.losses.log", (("batch",),)),
    ("head.losses.losses.counts", (("batch",), ())),
    ("head.losses.losses.one_hot", (("batch", "vocab"), (), ())),
    ("head.losses.losses.pick", (("batch", "vocab"), ("batch", "vocab"))),
    ("head.losses.losses.picked", (("batch", "vocab"),)),
)
"""Pattern of operators (path of a cell, name of its operator) -> logical axes of each input.

These decide; MindSpore's propagation places every other operator to fit them."""

SEQUENCE_OUTPUTS: Tuple[str, ...] = ("*layers.*.o.product.matmul", "*layers.*.mlp.down.product.matmul")
"""Patterns of the products whose sums a split sequence scatters: the rows of their output are split by batch and
sequence."""


@functools.cache
def dims_of(path: str) -> Dims:
    """Return the logical axes of the parameter at `path`; raises KeyError, with the nearest pattern, without a rule."""
    for pattern, dims in PARAMETERS:
        if fnmatchcase(path, pattern):
            return dims
    patterns = [pattern for pattern, _ in PARAMETERS]
    raise KeyError(f"no rule of parallel/rules.py places '{path}'.{suggestion(path, patterns, limit=1)}")


def mesh_axes(tensor: int, kv_heads: int, splits_sequence: bool, splits_vocab: bool) -> Dict[Logical, Optional[Axis]]:
    """Return the axis of the mesh that carries each logical axis, None where every device holds the whole.

    Fewer heads of key and value than ways to split a layer are held, and worked out, by all of its devices.
    """
    return {
        "batch": "data",
        "sequence": "tensor" if splits_sequence else None,
        "heads": "tensor",
        "kv_heads": "tensor" if kv_heads % tensor == 0 else None,
        "mlp": "tensor",
        "vocab": "tensor" if splits_vocab else None,
        "layers": "stage",
    }
