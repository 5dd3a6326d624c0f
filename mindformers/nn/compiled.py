"""The outermost cell of a graph."""

from __future__ import annotations

from mindspore import nn


class Compiled(nn.Cell):
    """A cell that is called as a graph, often.

    MindSpore (2.10) tells all cells inside which graph they are compiled for, in Python, and not only when it compiles
    but at every call: 6 ms for GPT-2 with 12 layers. Here they are told before a graph is compiled.
    """

    @property
    def compile_phase(self):
        """The graph that the cells are compiled for."""
        return self._compile_phase

    @compile_phase.setter
    def compile_phase(self, phase):
        if phase in self.compile_cache:
            self._compile_phase = phase
        else:
            nn.Cell.compile_phase.fset(self, phase)
