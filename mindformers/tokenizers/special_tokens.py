"""Special tokens by name: how files write them, which a family expects, and that each has an id."""

from __future__ import annotations

from typing import Dict, List, Mapping, Optional, Sequence

from tokenizers import AddedToken

from mindformers.errors import DataError

NAMES = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
ADDITIONAL = ("additional_special_tokens", "extra_special_tokens")
"""Keys that hold further special tokens without a role: the long-standing spelling and that of transformers 5."""
FLAGS = ("lstrip", "rstrip", "normalized", "single_word")


def added_token(value: object, special: bool, lstrip: bool = False) -> AddedToken:
    """Return a token that a file writes as text or as an object with `content` and flags.

    `lstrip` is for a token written as text: whether it takes the white space before it.
    """
    if isinstance(value, Mapping):
        flags = {name: bool(value[name]) for name in FLAGS if name in value}
        return AddedToken(str(value["content"]), special=special, **{"normalized": not special, **flags})
    return AddedToken(str(value), special=special, normalized=not special, lstrip=lstrip)


def text_of(value: object) -> object:
    """Return the text of a token that a file writes as text or as an object."""
    return value.get("content") if isinstance(value, Mapping) else value


class SpecialTokens:
    """The special tokens of one tokenizer: at most one for each of NAMES, and any number without a role."""

    def __init__(self, named: Mapping[str, AddedToken], additional: Sequence[AddedToken] = ()):
        self.named: Dict[str, AddedToken] = dict(named)
        self.additional: List[AddedToken] = list(additional)

    @classmethod
    def of(
        cls, defaults: Mapping[str, str], lstrip: Sequence[str], layers: Sequence[Mapping[str, object]]
    ) -> SpecialTokens:
        """Return a family's default tokens, changed by each layer in turn; None takes a token away.

        `lstrip` names the tokens that take the white space before them unless a layer writes their flags.
        """
        values: Dict[str, object] = {**defaults}
        additional: object = None
        for layer in layers:
            for name in NAMES:
                # A file that repeats only the text of a token does not take back its flags.
                if name in layer and not (isinstance(layer[name], str) and text_of(values.get(name)) == layer[name]):
                    values[name] = layer[name]
            additional = next((layer[name] for name in ADDITIONAL if layer.get(name)), additional)
        if isinstance(additional, Mapping):  # transformers 5 may give names to extra tokens
            additional = list(additional.values())
        return cls(
            {
                name: added_token(values[name], special=True, lstrip=name in lstrip)
                for name in NAMES
                if values.get(name) is not None
            },
            [added_token(item, special=True) for item in additional or ()],
        )

    def token(self, name: str) -> Optional[str]:
        """Return the token of a role, None when there is none."""
        return self.named[name].content if name in self.named else None

    def all(self) -> List[AddedToken]:
        """Return every token once, those with a role first; of two roles of one token the one with flags counts."""
        made: Dict[str, AddedToken] = {}
        for token in [*self.named.values(), *self.additional]:
            if token.content not in made or isinstance(_written(token), dict):
                made[token.content] = token
        return list(made.values())

    def check(self, vocabulary: Mapping[str, int], where: object) -> None:
        """Raise DataError when a token has no id; `where` names the file."""
        named = [(name, token.content) for name, token in self.named.items()]
        further = [(ADDITIONAL[0], token.content) for token in self.additional]
        missing = [f"{name} {token!r}" for name, token in [*named, *further] if token not in vocabulary]
        if missing:
            raise DataError(
                f"{where}: the vocabulary of {len(vocabulary)} tokens has no {', '.join(missing)}; add them "
                "to the file, name the tokens it uses instead (pad_token=... and so on), or None for no such token"
            )

    def written(self) -> Dict[str, object]:
        """Return the tokens as special_tokens_map.json holds them: text, or an object where flags are set."""
        made: Dict[str, object] = {name: _written(token) for name, token in self.named.items()}
        if self.additional:
            made[ADDITIONAL[0]] = [_written(token) for token in self.additional]
        return made


def _written(token: AddedToken) -> object:
    flags = {name: getattr(token, name) for name in FLAGS}
    return {"content": token.content, **flags} if any(flags.values()) else token.content
