"""The state of every random generator that can be read: Python's, NumPy's and MindSpore's.

Dropout is not among them: its masks follow from a counter that is a parameter of the model (`nn.dropout`).
"""

from __future__ import annotations

import random
from typing import Any, Dict

import mindspore as ms
import numpy as np
from mindspore import Tensor


def capture_random_state() -> Dict[str, Any]:
    """Return all states as plain values that JSON can hold."""
    version, words, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state()
    return {
        "python": [version, list(words), gauss],
        "numpy": [kind, keys.tolist(), int(position), int(has_gauss), float(cached)],
        "mindspore": ms.get_rng_state().asnumpy().tolist(),
    }


def restore_random_state(state: Dict[str, Any]) -> None:
    """Put every generator into the state that `capture_random_state` returned."""
    version, words, gauss = state["python"]
    random.setstate((version, tuple(words), gauss))
    kind, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((kind, np.asarray(keys, np.uint32), position, has_gauss, cached))
    ms.set_rng_state(Tensor(np.asarray(state["mindspore"], np.uint8)))
