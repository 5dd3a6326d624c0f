"""The six moments of training at which a callback is called, in which order, and what it keeps through a resumption."""

from __future__ import annotations

from typing import Any, Dict, Iterable, List

from mindspore.train.callback import Callback

FIRST, EVALUATION, USUAL, DECISION, LAST = 10, 30, 50, 70, 90
"""Priorities: what measures the step; what scores the model; a user's own; what ends training; what saves its state."""


class TrainingCallback(Callback):
    """A callback with a place in the order of calls and a state that checkpoints keep.

    The hooks are MindSpore's: on_train_begin, on_train_epoch_begin, on_train_step_begin, on_train_step_end,
    on_train_epoch_end, on_train_end, each called with a `RunContext`. Smaller priorities are called first; a plain
    MindSpore callback has priority 50 and no state.
    """

    priority: int = USUAL

    def state_dict(self) -> Dict[str, Any]:
        """Return what a resumed run needs, as plain values that JSON can hold."""
        return {}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Take back what `state_dict` returned when the checkpoint was written."""


def in_order(callbacks: Iterable[Callback]) -> List[Callback]:
    """Return the callbacks by priority; equal ones stay in the order in which they were given."""
    return sorted(callbacks, key=lambda callback: getattr(callback, "priority", USUAL))


def states_of(callbacks: Iterable[Callback]) -> Dict[str, Dict[str, Any]]:
    """Return the state of every callback that has one, by the name of its class and its number among equals."""
    return {name: state for name, callback in _named(callbacks).items() if (state := callback.state_dict())}


def load_states(callbacks: Iterable[Callback], states: Dict[str, Dict[str, Any]]) -> None:
    """Give every callback its state back; one that is new in this run starts fresh."""
    for name, callback in _named(callbacks).items():
        if name in states:
            callback.load_state_dict(states[name])


def _named(callbacks: Iterable[Callback]) -> Dict[str, TrainingCallback]:
    named: Dict[str, TrainingCallback] = {}
    for callback in callbacks:
        if isinstance(callback, TrainingCallback):
            kind = type(callback).__name__
            number = sum(name.split("#")[0] == kind for name in named)
            named[f"{kind}#{number}" if number else kind] = callback
    return named
