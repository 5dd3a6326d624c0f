"""The tokenizer that every family shares: special tokens, pairs, truncation, padding, decoding and files.

What differs between families is data (`Family`); the pieces themselves come from a backend.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Callable, ClassVar, Dict, List, Mapping, Optional, Sequence, Tuple, Union

import numpy as np
from tokenizers import AddedToken, Tokenizer

from mindformers.errors import DataError, UnknownNameError, UsageError
from mindformers.tokenizers import files
from mindformers.tokenizers.backend import LibraryBackend, TokenizedText
from mindformers.tokenizers.chat import render
from mindformers.tokenizers.layout import FIRST, SECOND, Layout, kept_lengths, layout_of_backend, layout_of_names
from mindformers.tokenizers.sentencepiece_backend import SentencePieceBackend
from mindformers.tokenizers.special_tokens import ADDITIONAL, NAMES, SpecialTokens

PADDINGS = (False, True, "longest", "max_length")
TRUNCATIONS = (False, True, "longest_first", "only_first", "only_second")
SIDES = ("right", "left")
WRITTEN = ("content", "lstrip", "normalized", "rstrip", "single_word", "special")
"""What tokenizer_config.json says of an added token."""
UNLIMITED = int(1e30)
"""What Hugging Face writes as model_max_length when a model has no limit."""
CLEAN_UP = (" .", " ?", " !", " ,", " ' ", " n't", " 'm", " 's", " 've", " 're")
"""What `clean_up_tokenization_spaces` writes without the spaces."""
SHARED_OPTIONS: Dict[str, object] = {
    "model_max_length": UNLIMITED,
    "padding_side": "right",
    "truncation_side": "right",
    "clean_up_tokenization_spaces": False,
    "chat_template": None,
}
"""Options of every family, unless the family has another default."""

Backend = Union[LibraryBackend, SentencePieceBackend]


def _no_vocabulary(paths: Sequence[Path], special: SpecialTokens, options: Mapping[str, Any]) -> Backend:
    raise DataError(f"{paths[0]}: which kind of tokenizer it belongs to is not known; use the class of the family")


@dataclass(frozen=True)
class Family:
    """What tells the tokenizer of one model family from the others."""

    vocabulary: Tuple[Tuple[str, ...], ...] = ()
    """Accepted vocabulary files, one tuple for each alternative."""
    build: Callable[[Sequence[Path], SpecialTokens, Mapping[str, Any]], Backend] = _no_vocabulary
    """Makes a backend from the vocabulary files."""
    model: Optional[str] = None
    """Class of the tokenizers library that a tokenizer.json must hold; None: any."""
    adjust: Optional[Callable[[Tokenizer, Mapping[str, Any]], None]] = None
    """Applies the options that tokenizer_config.json states to the content of tokenizer.json."""
    special: Mapping[str, str] = field(default_factory=dict)
    single: Tuple[str, ...] = (FIRST,)
    pair: Tuple[str, ...] = (FIRST, SECOND)
    """Order of special tokens around one text and a pair; bos and eos also depend on add_bos_token, add_eos_token."""
    token_types: bool = False
    """Whether the model takes token_type_ids."""
    trim_offsets: bool = False
    """Whether offsets leave out white space at both ends of a token."""
    lstrip: Tuple[str, ...] = ()
    """Special tokens that take the white space before them."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further options and their defaults."""


class PretrainedTokenizer:
    """A tokenizer of any kind; `from_pretrained` takes a folder with tokenizer.json, special tokens as it says.

    The subclasses are made from their vocabulary files as well: Class(vocab_file, merges_file, **options) with the
    family's options, SHARED_OPTIONS, `additional_special_tokens`, and special tokens by name (`pad_token=...`; None:
    no such token). Raises DataError when the files are no such vocabulary or lack a special token, and
    UnknownNameError for an option that the family does not have.
    """

    family: ClassVar[Family] = Family()

    def __init__(
        self, vocab_file: Union[str, Path], merges_file: Union[str, Path, None] = None, **options: Any
    ) -> None:
        paths = [Path(vocab_file)]
        names = next((item for item in self.family.vocabulary if len(item) > 1), ())
        if names:
            paths.append(Path(merges_file) if merges_file is not None else paths[0].parent / names[1])
        elif merges_file is not None:
            raise UsageError(
                f"{type(self).__name__}: merges_file={merges_file!r}, but its vocabulary is one file; "
                "give options by name"
            )
        self._check_names(options)
        special = SpecialTokens.of(self.family.special, self.family.lstrip, [options])
        self._build(paths, special, {**self._defaults(), **self._known(options)}, ())

    @classmethod
    def find_vocabulary(cls, data: Path) -> Optional[Path]:
        """Return the vocabulary file beside data, which is a file or a folder; None when there is none."""
        folder = data if data.is_dir() else data.parent
        alternatives = ([folder / name for name in names] for names in cls.family.vocabulary)
        return next((paths[0] for paths in alternatives if all(path.is_file() for path in paths)), None)

    @classmethod
    def from_pretrained(cls, name_or_path: Union[str, Path], **options: Any) -> PretrainedTokenizer:
        """Load a folder that holds tokenizer.json or the family's vocabulary files; `options` win over its files.

        A name that is no path is looked up like weights. Where both say something about letter case, a leading space
        or add_bos_token, tokenizer_config.json wins over tokenizer.json, as in Hugging Face. Raises DataError when
        the folder or its files cannot be used.
        """
        cls._check_names(options)
        stored = files.read_folder(files.find_folder(name_or_path))
        stated = cls._known({**stored.config, **options})
        special = SpecialTokens.of(cls.family.special, cls.family.lstrip, [stored.special, stored.config, options])
        tokenizer = cls.__new__(cls)
        if stored.backend_file is None:
            paths = files.vocabulary_paths(stored.folder, cls.family.vocabulary)
            tokenizer._build(paths, special, {**cls._defaults(), **stated}, stored.added)
            return tokenizer
        backend = LibraryBackend.read(stored.backend_file, cls.family.model)
        if cls.family.adjust is not None:
            cls.family.adjust(backend.tokenizer, stated)
        tokenizer.layout = layout_of_backend(backend.tokenizer, stored.backend_file)
        bare = backend.tokenizer.post_processor is None
        # What the family would do with bare files says nothing about a tokenizer that is stored whole.
        options = {name: value for name, value in cls._defaults().items() if name in SHARED_OPTIONS}
        tokenizer._adopt(backend, special, {**options, **stated}, stored.added, stored.backend_file)
        if bare or "add_bos_token" in stated or "add_eos_token" in stated:
            tokenizer._set_layout(tokenizer._family_layout())
        elif "add_prefix_space" in stated:  # the offsets of the first word depend on it
            tokenizer._set_layout(tokenizer.layout)
        return tokenizer

    @classmethod
    def _defaults(cls) -> Dict[str, Any]:
        return {**SHARED_OPTIONS, **cls.family.options}

    @classmethod
    def _known(cls, values: Mapping[str, Any]) -> Dict[str, Any]:
        """Return the values that are options; null in a file stands for the default where that is no None."""
        defaults = cls._defaults()
        return {
            name: value
            for name, value in values.items()
            if name in defaults and not (value is None and defaults[name] is not None)
        }

    @classmethod
    def _check_names(cls, options: Mapping[str, Any]) -> None:
        accepted = (*cls._defaults(), *NAMES, *ADDITIONAL)
        for name in options:
            if name not in accepted:
                raise UnknownNameError(f"option of {cls.__name__}", name, accepted)

    def _build(
        self,
        paths: Sequence[Path],
        special: SpecialTokens,
        options: Dict[str, Any],
        added: Sequence[Tuple[int, AddedToken]],
    ) -> None:
        """Make the backend from vocabulary files."""
        backend = self.family.build(paths, special, options)
        self._adopt(backend, special, options, added, paths[0])
        self._set_layout(self._family_layout())

    def _adopt(
        self,
        backend: Backend,
        special: SpecialTokens,
        options: Dict[str, Any],
        added: Sequence[Tuple[int, AddedToken]],
        where: Path,
    ) -> None:
        """Take over a backend and make added and special tokens known to it. Raises DataError."""
        for index, token in added:
            backend.add([token])
            if backend.token_to_id(token.content) != index:
                raise DataError(
                    f"{where}: the added token {token.content!r} gets the id {backend.token_to_id(token.content)}, "
                    f"but the files beside it say {index}; vocabulary and added tokens do not belong together"
                )
        special.check(backend.vocabulary(), where)
        backend.add(special.all())
        self._backend, self._special, self._options = backend, special, options
        self._vocab_size = 1 + max(backend.vocabulary().values(), default=-1)
        for name in NAMES:
            text = special.token(name)
            setattr(self, name, text)
            setattr(self, f"{name}_id", None if text is None else backend.token_to_id(text))
        self.additional_special_tokens = [token.content for token in special.additional]
        self.model_max_length = int(options["model_max_length"])
        self.padding_side = self._side("padding_side")
        self.truncation_side = self._side("truncation_side")
        self.chat_template = options["chat_template"]

    def _side(self, name: str) -> str:
        value = self._options[name]
        if value not in SIDES:
            raise UsageError(f"{name}={value!r}: accepted are {SIDES}")
        return value

    def _family_layout(self) -> Layout:
        """Return the family's layout; without add_bos_token and add_eos_token their tokens are left out."""
        options = {**self.family.options, **self._options}
        switched_off = [name for name in ("bos_token", "eos_token") if not options.get(f"add_{name}", True)]
        ids = {name: index for name, index in self.special_ids.items() if name not in switched_off}
        return layout_of_names(self.family.single, self.family.pair, ids)

    def _set_layout(self, layout: Layout) -> None:
        self.layout = layout
        if isinstance(self._backend, LibraryBackend):
            library = self._backend.tokenizer
            library.post_processor = layout.processor(library, self.family.trim_offsets)

    def save_pretrained(self, folder: Union[str, Path]) -> None:
        """Write the vocabulary, tokenizer_config.json and special_tokens_map.json, as Hugging Face reads them.

        Raises OutputError when the folder cannot be written.
        """
        class_name = "PreTrainedTokenizerFast" if type(self) is PretrainedTokenizer else type(self).__name__
        texts = {name: token.content for name, token in self._special.named.items()}
        config: Dict[str, object] = {"tokenizer_class": class_name, **self._options, **texts}
        if self.additional_special_tokens:
            config[ADDITIONAL[0]] = self.additional_special_tokens
        for option in ("model_max_length", "padding_side", "truncation_side", "chat_template"):
            config[option] = getattr(self, option)
        if self.chat_template is None:
            del config["chat_template"]
        config["added_tokens_decoder"] = {
            str(index): {name: getattr(token, name) for name in WRITTEN}
            for index, token in sorted(self._backend.added_tokens().items())
        }
        files.write_folder(Path(folder), self._backend.contents(), config, self._special.written())

    @property
    def vocab_size(self) -> int:
        """One more than the highest id, special and added tokens included."""
        return self._vocab_size

    @property
    def special_ids(self) -> Dict[str, int]:
        """Special token names (`cls_token` ...) and their ids."""
        return {name: self._backend.token_to_id(token.content) for name, token in self._special.named.items()}

    def continuations(self) -> np.ndarray:
        """Return by token id, bool [vocab_size], whether the piece continues a word; special tokens do not."""
        inside = np.zeros(self.vocab_size, bool)
        for piece, index in self._backend.vocabulary().items():
            inside[index] = self._backend.continues_word(piece)
        inside[[index for index, token in self._backend.added_tokens().items() if token.special]] = False
        return inside

    def digest(self) -> str:
        """Return a SHA-256 of everything that decides ids and offsets (key of feature caches)."""
        options = sorted((name, item) for name, item in self._options.items() if name not in SHARED_OPTIONS)
        return hashlib.sha256(self._backend.state() + repr((self.layout, options)).encode("utf-8")).hexdigest()

    def encode_batch(self, texts: Sequence[str]) -> List[TokenizedText]:
        """Tokenise texts without special tokens; offsets count the characters of each original text."""
        return self._backend.encode(list(texts))

    def tokenize(self, text: str) -> List[str]:
        """Return the token strings of a text's ids, without special tokens around it."""
        return self.convert_ids_to_tokens(self._backend.encode_ids([text])[0])

    def __call__(
        self,
        text: Union[str, Sequence[str]],
        text_pair: Union[str, Sequence[str], None] = None,
        max_length: Optional[int] = None,
        padding: Union[bool, str] = False,
        truncation: Union[bool, str] = False,
        add_special_tokens: bool = True,
    ) -> Dict[str, np.ndarray]:
        """Return int32 arrays input_ids, attention_mask and, where the family has them, token_type_ids.

        Shapes are [tokens] for one text and [texts, tokens] for a list. `padding` is False, True ("longest") or
        "max_length"; `truncation` is False, True ("longest_first"), "only_first" or "only_second"; `max_length`
        counts special tokens and defaults to `model_max_length`. Raises UsageError for other values, for a list
        of unequal lengths without padding, for padding without a pad token, and when nothing is left to cut.
        """
        if padding not in PADDINGS or truncation not in TRUNCATIONS:
            raise UsageError(
                f"padding={padding!r}, truncation={truncation!r}: padding accepts {PADDINGS}, "
                f"truncation accepts {TRUNCATIONS}"
            )
        limit = self.model_max_length if max_length is None else max_length
        if padding == "max_length" and limit >= UNLIMITED:
            raise UsageError("padding='max_length': this tokenizer has no model_max_length; give max_length")
        single = isinstance(text, str)
        firsts = [text] if single else list(text)
        seconds = None if text_pair is None else ([text_pair] if isinstance(text_pair, str) else list(text_pair))
        if seconds is not None and len(seconds) != len(firsts):
            raise UsageError(f"text has {len(firsts)} entries but text_pair has {len(seconds)}; they go pair by pair")
        layout = self.layout if add_special_tokens else Layout(((FIRST, 0),), ((FIRST, 0), (SECOND, 1)))
        room = limit - layout.special_count(seconds is not None)
        left = self._backend.encode_ids(firsts)
        right = [None] * len(left) if seconds is None else self._backend.encode_ids(seconds)
        rows = []
        for first, second in zip(left, right):
            if truncation:
                size = None if second is None else len(second)
                lengths = kept_lengths(len(first), size, room, truncation)
                first = self._cut(first, lengths[0])
                second = None if second is None else self._cut(second, lengths[1])
            rows.append(layout.arrange(first, second))
        arrays = self._stack(rows, padding, limit)
        return {name: array[0] for name, array in arrays.items()} if single else arrays

    def _cut(self, ids: Sequence[int], length: int) -> Sequence[int]:
        return ids[:length] if self.truncation_side == "right" else ids[len(ids) - length :]

    def _stack(
        self, rows: Sequence[Tuple[List[int], List[int]]], padding: Union[bool, str], limit: int
    ) -> Dict[str, np.ndarray]:
        """Return rows of ids and type ids as rectangular arrays."""
        lengths = [len(ids) for ids, _ in rows]
        longest = max(lengths, default=0)
        if not padding and any(length != longest for length in lengths):
            raise UsageError(
                f"the texts have {min(lengths)} to {longest} tokens and padding is off: "
                "ask for padding=True or padding='max_length', or give one text at a time"
            )
        width = max(longest, limit) if padding == "max_length" else longest
        if self.pad_token_id is None and any(length != width for length in lengths):
            raise UsageError("padding is asked for, but this tokenizer has no pad_token; load it with pad_token=...")
        shape = (len(rows), width)
        arrays = {
            "input_ids": np.full(shape, 0 if self.pad_token_id is None else self.pad_token_id, np.int32),
            "attention_mask": np.zeros(shape, np.int32),
        }
        if self.family.token_types:
            arrays["token_type_ids"] = np.zeros(shape, np.int32)
        for index, (ids, types) in enumerate(rows):
            places = slice(0, len(ids)) if self.padding_side == "right" else slice(width - len(ids), width)
            arrays["input_ids"][index, places] = ids
            arrays["attention_mask"][index, places] = 1
            if self.family.token_types:
                arrays["token_type_ids"][index, places] = types
        return arrays

    def decode(self, ids: Sequence[int], skip_special_tokens: bool = True) -> str:
        """Return the text of ids; letter case and spacing are those of the vocabulary, not of the original."""
        text = self._backend.decode([int(item) for item in ids], skip_special_tokens)
        if self._options["clean_up_tokenization_spaces"]:
            for spaced in CLEAN_UP:
                text = text.replace(spaced, spaced.strip())
        return text

    def convert_tokens_to_ids(self, tokens: Union[str, Sequence[str]]) -> Union[int, List[int]]:
        """Return the id of a token, or those of a list; an unknown one gets the id of unk_token.

        Raises UsageError for an unknown token when there is no unk_token.
        """
        if not isinstance(tokens, str):
            return [self.convert_tokens_to_ids(token) for token in tokens]
        index = self._backend.token_to_id(tokens)
        index = self.unk_token_id if index is None else index
        if index is None:
            raise UsageError(f"token {tokens!r} is not in the vocabulary, and this tokenizer has no unk_token")
        return index

    def convert_ids_to_tokens(self, ids: Union[int, Sequence[int]]) -> Union[str, List[str]]:
        """Return the token of an id, or those of a list. Raises UsageError for an id outside of the vocabulary."""
        if not isinstance(ids, (int, np.integer)):
            return [self.convert_ids_to_tokens(int(item)) for item in ids]
        token = self._backend.id_to_token(int(ids))
        if token is None:
            raise UsageError(f"id {int(ids)}: this vocabulary has the ids 0 to {self.vocab_size - 1}")
        return token

    def apply_chat_template(
        self,
        messages: Sequence[Mapping[str, Any]],
        chat_template: Optional[str] = None,
        add_generation_prompt: bool = False,
        tokenize: bool = True,
        **variables: Any,
    ) -> Union[str, np.ndarray]:
        """Return a conversation as the model was trained on it: int32 ids [tokens], or the text without `tokenize`.

        A message holds "role" and "content". `chat_template` is a template, or the name of one of the tokenizer's
        or of `chat.TEMPLATES`; absent: the tokenizer's own. `add_generation_prompt` ends where the model's answer
        begins. `variables` are handed to the template. Raises UsageError when there is no template or it refuses
        the messages, MissingExtraError without jinja2.
        """
        named = {name: token.content for name, token in self._special.named.items()}
        text = render(
            self.chat_template,
            chat_template,
            {"messages": messages, "add_generation_prompt": add_generation_prompt, **named, **variables},
        )
        return np.array(self._backend.encode_ids([text])[0], np.int32) if tokenize else text
