"""How far float32 results may be from their reference, largest absolute difference unless said otherwise, and why.

Never loosened in the change that fails them.
"""

CELL = 1e-5
"""One cell against float64 NumPy, values of order 1: some hundred float32 roundings of 6e-8."""

CELL_GRADIENT = 1e-4
"""Gradients of one cell against central differences in float64: sums over all rows of products of order 1."""

MODEL = 1e-4
"""A whole encoder against another framework's float32: both round, in another order, layer after layer."""

GRADIENT_RELATIVE = 1e-4
"""L2 norm of a gradient's difference over the L2 norm of all gradients of the model (a key bias's own is rounding)."""

LOSS = 1e-5
"""A mean of cross entropies of order 1 to 10."""
