"""`model.generate`: prompts in, texts or ids out."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Iterator, List, Optional, Sequence, Tuple, Union

import numpy as np
from mindspore import nn

from mindformers.errors import UsageError
from mindformers.generation.beams import BeamSearch, search
from mindformers.generation.prompts import ACCEPTED, Inputs, Prompts, read_prompts, room_for
from mindformers.generation.rows import AnySession, Row, write
from mindformers.generation.sessions import CachedSession, Graphs, Tokens, WholeSession, is_encoder_decoder
from mindformers.generation.settings import GenerationConfig
from mindformers.log import logger
from mindformers.tokenizers.auto import AutoTokenizer
from mindformers.tokenizers.backend import TOKENIZER_FILE
from mindformers.tokenizers.files import VOCABULARY_FILES

WRITES = ("causal_lm", "seq2seq_lm")
"""Heads that say which token follows."""


def generate(
    model: nn.Cell,
    inputs: Optional[Inputs] = None,
    attention_mask: Any = None,
    tokenizer: Any = None,
    settings: Optional[GenerationConfig] = None,
    *,
    input_ids: Optional[Inputs] = None,
    **options: Any,
) -> Any:
    """Continue prompts, or with an encoder-decoder answer them.

    `inputs` is a text, a list of texts, ids, or several rows of ids of any lengths (a matrix with `attention_mask`
    where padding stands); `input_ids` is another name for it. `settings` are by default the model's own
    (`generation_config`), `options` change them by name. `tokenizer` is by default the one beside the model's weights.

    Returns a text for a text and a list for a list; with several sequences for each prompt a list in its place. Ids
    instead of texts, int32 [tokens] or [texts, tokens], when `detokenize` is false or there is no tokenizer. With
    `return_output_log_probs` a pair: that, and in the same nesting the log-probabilities of the new tokens, float
    arrays. With `stream` an iterator: pieces of text for one row (ids without a tokenizer), else for every step a list
    with the piece of each row.

    Raises UsageError for a model that cannot write, for what does not fit together, and for logits that are not finite.
    """
    if (inputs is None) == (input_ids is None):
        raise UsageError(f"generate reads its prompts from inputs or from input_ids; {ACCEPTED}")
    call = Call.of(model, input_ids if inputs is None else inputs, attention_mask, tokenizer, settings, options)
    return call.stream() if call.settings.stream else call.result()


def default_settings(model: nn.Cell) -> GenerationConfig:
    """Return the settings of a model: `generation_config`, read from beside its weights at first use."""
    if getattr(model, "generation_config", None) is None:
        model.generation_config = GenerationConfig.of_model(getattr(model, "config", None), source_of(model))
    return model.generation_config


def default_tokenizer(model: nn.Cell) -> Any:
    """Return the tokenizer beside a model's weights, None where there is none."""
    if not hasattr(model, "generation_tokenizer"):
        source = source_of(model)
        names = (TOKENIZER_FILE, *(files[0] for files in VOCABULARY_FILES))
        held = source is not None and any((source / name).is_file() for name in names)
        model.generation_tokenizer = AutoTokenizer.from_pretrained(str(source)) if held else None
    return model.generation_tokenizer


def source_of(model: nn.Cell) -> Optional[Path]:
    """Return the folder that a model's weights came from."""
    source = getattr(model, "source", None)
    return source if source is None or source.is_dir() else source.parent


def graphs_of(model: nn.Cell) -> Graphs:
    """Return the compiled graphs of a model, which live as long as it does."""
    if not hasattr(model, "generation_graphs"):
        model.generation_graphs = Graphs(model)
    return model.generation_graphs


def open_session(
    model: nn.Cell, prompts: Sequence[Tokens], sources: Optional[Sequence[Tokens]], room: int, recompute: bool
) -> AnySession:
    """Return a session for rows; arguments as of `Session`."""
    return (WholeSession if recompute else CachedSession)(graphs_of(model), prompts, sources, room)


def check_end_tokens(settings: GenerationConfig, vocab_size: int, is_named: bool) -> None:
    """Raise UsageError for an end token outside of the vocabulary that a call names, or that a least length needs.

    Otherwise it may stay: sizes of a configuration are often changed without its special tokens.
    """
    outside = [token for token in settings.eos if not 0 <= token < vocab_size]
    if outside and (is_named or settings.min_length or settings.min_new_tokens):
        raise UsageError(
            f"eos_token_id={settings.eos_token_id!r}: the model has the ids 0 to {vocab_size - 1}, so {outside[0]} "
            "cannot end a text; give another, or None"
        )


@dataclass
class Call:
    """One call of `generate`, ready to run."""

    model: nn.Cell
    prompts: Prompts
    tokenizer: Any
    settings: GenerationConfig
    rooms: List[int]

    @classmethod
    def of(
        cls,
        model: nn.Cell,
        inputs: Inputs,
        attention_mask: Any,
        tokenizer: Any,
        settings: Optional[GenerationConfig],
        options: Any,
    ) -> Call:
        """Check everything that can be checked before anything is computed."""
        if getattr(model, "head_kind", None) not in WRITES:
            raise UsageError(
                f"{type(model).__name__} cannot write text: it has no head for the next token; "
                "load it with AutoModelForCausalLM or AutoModelForSeq2SeqLM"
            )
        if "streamer" in options:
            raise UsageError("streamer: there are none here; set stream=True and iterate over what generate returns")
        settings = (default_settings(model) if settings is None else settings).changed(options)
        check_end_tokens(settings, model.arch.vocab_size, is_named="eos_token_id" in options)
        tokenizer = default_tokenizer(model) if tokenizer is None else tokenizer
        if settings.stop and tokenizer is None:
            raise UsageError(f"stop={settings.stop!r}: texts need a tokenizer; give tokenizer=...")
        prompts = read_prompts(inputs, attention_mask, tokenizer, settings, model.arch.vocab_size)
        call = cls(model, prompts, tokenizer, settings, [])
        if settings.stream and settings.include_input and not call.is_text:
            raise UsageError("include_input=True with a stream of ids: it gives new ids alone; leave include_input out")
        call.rooms = room_for(call.begun, settings, model.arch)
        call.tell_length()
        return call

    @property
    def is_text(self) -> bool:
        """Whether texts are returned, and not ids."""
        return self.settings.detokenize and self.tokenizer is not None

    def tell_length(self) -> None:
        """Warn once for each model of texts longer than its rotary positions were made for; they can be written."""
        arch, graphs = self.model.arch, graphs_of(self.model)
        longest = max(len(begin) + room for begin, room in zip(self.begun, self.rooms))
        if arch.positions == "rotary" and longest > arch.max_positions * arch.rotary.factor:
            if not graphs.is_length_told:
                logger.warning(
                    "generation: prompt and answer may have %d tokens together; the model was made for %d and may "
                    "write nonsense beyond: shorten the prompt, or lower max_new_tokens or max_length",
                    longest,
                    arch.max_positions * arch.rotary.factor,
                )
            graphs.is_length_told = True

    @property
    def begun(self) -> List[np.ndarray]:
        """What each text begins with: the prompt, or the start token of an encoder-decoder."""
        if not is_encoder_decoder(self.model.arch):
            return self.prompts.ids
        return [np.array([self.model.arch.decoder_start_token_id], np.int32)] * len(self.prompts.ids)

    def rows(self) -> List[Row]:
        """Return the rows that a call without beams writes: `num_return_sequences` for each prompt."""
        count = self.settings.num_return_sequences
        return [self._row(number // count, number) for number in range(count * len(self.prompts.ids))]

    def _row(self, prompt: int, number: int) -> Row:
        return Row(
            self.begun[prompt], self.settings, self.rooms[prompt], number, self._context(prompt), self._text_tokenizer
        )

    def _context(self, prompt: int) -> List[int]:
        return [] if is_encoder_decoder(self.model.arch) else self.prompts.ids[prompt].tolist()

    @property
    def _text_tokenizer(self) -> Any:
        return self.tokenizer if self.settings.detokenize or self.settings.stop else None

    def _session(self, rows_per_prompt: int) -> AnySession:
        def several(items: List[np.ndarray]) -> List[np.ndarray]:
            return [item for item in items for _ in range(rows_per_prompt)]

        sources = several(self.prompts.ids) if is_encoder_decoder(self.model.arch) else None
        return open_session(self.model, several(self.begun), sources, max(self.rooms), self.settings.recompute)

    def result(self) -> Any:
        """Return the outputs of the whole call."""
        if self.settings.num_beams == 1:
            rows = self.rows()
            for _ in write(self._session(self.settings.num_return_sequences), rows):
                pass
        else:
            rows = self._searched()
        outputs = self._outputs(rows)
        if not self.settings.return_output_log_probs:
            return outputs
        return outputs, self._nested([np.array(row.log_probs) for row in rows])

    def _searched(self) -> List[Row]:
        searches = [
            BeamSearch(self._row(number, number), self._text_tokenizer, self._context(number))
            for number in range(len(self.prompts.ids))
        ]
        search(self._session(self.settings.num_beams), searches)
        return [row for item in searches for row in item.answers()]

    def _outputs(self, rows: List[Row]) -> Any:
        count = self.settings.num_return_sequences
        if self.is_text:
            begins = [self._begin(number // count) for number in range(len(rows))]
            return self._nested([begin + row.text for begin, row in zip(begins, rows)])
        ids = [np.array(row.tokens, np.int32) for row in rows]
        if self.settings.include_input:
            ids = [np.concatenate([self.prompts.ids[number // count], new]) for number, new in enumerate(ids)]
        if self.prompts.is_single and count == 1:
            return ids[0]
        filler = self.settings.pad_token_id
        if filler is None:
            filler = next(iter(self.settings.eos), 0)
        matrix = np.full((len(ids), max(map(len, ids))), filler, np.int32)
        for row, values in zip(matrix, ids):
            row[: len(values)] = values
        return matrix

    def _begin(self, prompt: int) -> str:
        if not self.settings.include_input:
            return ""
        texts = self.prompts.texts
        return self.tokenizer.decode(self.prompts.ids[prompt]) if texts is None else texts[prompt]

    def _nested(self, items: List[Any]) -> Any:
        """Return one item for each row as the caller nested the prompts."""
        count = self.settings.num_return_sequences
        groups = items if count == 1 else [items[place : place + count] for place in range(0, len(items), count)]
        return groups[0] if self.prompts.is_single else groups

    def stream(self) -> Iterator[Union[str, int, List[Any]]]:
        """Yield what each step makes certain; steps that make nothing certain are left out."""
        rows = self.rows()
        if self.settings.include_input:
            begins = [self._begin(number // self.settings.num_return_sequences) for number in range(len(rows))]
            yield begins[0] if len(rows) == 1 else begins
        written = [0] * len(rows)
        with closing(write(self._session(self.settings.num_return_sequences), rows)) as steps:
            for _ in steps:
                pieces, written = _news(rows, written, self.is_text)
                if any(piece not in ("", None) for piece in pieces):
                    yield pieces[0] if len(rows) == 1 else pieces


def _news(rows: Sequence[Row], written: Sequence[int], is_text: bool) -> Tuple[List[Any], List[int]]:
    """Return the new text of each row, or its new token (None: no more), and how many tokens each has."""
    lengths = [len(row.tokens) for row in rows]
    if is_text:
        return [row.piece for row in rows], lengths
    return [row.tokens[-1] if length > before else None for row, length, before in zip(rows, lengths, written)], lengths
