"""`mindformers chat`: a conversation in the terminal.

Answers go to standard output, everything about them to standard error.
"""

from __future__ import annotations

import sys
import time
import unicodedata
from typing import Any, Iterator, Mapping, Optional

from mindformers.chat.conversation import Conversation
from mindformers.chat.interrupts import heard, taken
from mindformers.chat.speaker import Speaker, sampled
from mindformers.errors import MindFormersError, UsageError, counted
from mindformers.generation.rows import Row
from mindformers.generation.settings import GenerationConfig

QUIT = ("q", "quit", "exit")
ANEW = ("clear", "new")
NEW_TOKENS = 512
"""Most tokens of an answer, or half of what the model was made for."""


def chat(
    model: str,
    adapter: Optional[str],
    template: Optional[str],
    dtype: str,
    system: Optional[str],
    wanted: Mapping[str, Any],
) -> None:
    """Talk with the model of a folder until the user leaves; `dtype` as of `Speaker.load`.

    `wanted` are settings of `generate` by name, None keeps the model's own. Raises what `Speaker.load` does, and
    UsageError for settings that leave no room, and when there is no chat template.
    """
    speaker = Speaker.load(model, adapter, template, dtype)
    new_tokens = wanted["max_new_tokens"] or min(NEW_TOKENS, speaker.most_tokens // 2)
    room = speaker.most_tokens - new_tokens
    if room < 1:
        raise UsageError(
            f"--max-new-tokens {new_tokens}: the model reads and writes {speaker.most_tokens} tokens in all; "
            f"{speaker.most_tokens // 2} leaves half of them for the conversation"
        )
    settings = sampled(speaker.chat_settings, wanted).changed({"seed": wanted["seed"], "max_new_tokens": new_tokens})
    speaker.prompt([{"role": "user", "content": "-"}])  # without a template this is where to say so
    Terminal(speaker, settings, Conversation(speaker.prompt, room, system)).run()


class Terminal:
    """Reads questions from standard input, typed or piped, one in a line.

    To be run while Ctrl-C is `held`: it stops the answer that is written, and at the prompt it drops the line.
    """

    def __init__(self, speaker: Speaker, settings: GenerationConfig, conversation: Conversation):
        self.speaker, self.settings, self.conversation = speaker, settings, conversation
        self.is_typed = sys.stdin.isatty()

    def run(self) -> None:
        """Answer until the user leaves or the input ends."""
        for stream in (sys.stdin, sys.stdout):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")
        if self.is_typed:
            import readline  # noqa: F401  gives input() line editing and history

            note(f"{' or '.join(QUIT)} ends, {' or '.join(ANEW)} begins anew, Ctrl-C stops an answer")
        for question in self._questions():
            if question.lower() in ANEW:
                self.conversation.clear()
                note("new conversation")
            else:
                self._reply(question)

    def _questions(self) -> Iterator[str]:
        while True:
            try:
                with heard():
                    line = input("> " if self.is_typed else "").strip()
            except EOFError:
                if self.is_typed:
                    print()
                return
            except KeyboardInterrupt:
                if not self.is_typed:
                    raise
                print()
                continue
            if line.lower() in QUIT:
                return
            if line:
                yield line

    def _reply(self, question: str) -> None:
        try:
            ids, left_out = self.conversation.ask(question)
        except UsageError as error:
            note(f"error: {error}")
            return
        if left_out:
            note(f"the conversation grew too long: the first {counted(left_out, 'question')} and answers are forgotten")
        row = self.speaker.row(ids, self.settings, self.settings.max_new_tokens)
        start = time.perf_counter()
        try:
            text = self._write(row)
        except MindFormersError as error:
            self.conversation.withdraw()
            note(f"error: {error}")
            return
        seconds = time.perf_counter() - start
        self.conversation.answer(text)
        ended = {None: ", stopped", "length": ", cut by --max-new-tokens"}.get(row.finished, "")
        note(f"{counted(len(row.tokens), 'token')}, {len(row.tokens) / seconds:.1f} tokens/s{ended}")

    def _write(self, row: Row) -> str:
        """Print an answer as it is written, until it ends or the user stops it; return what was printed."""
        pieces = []
        for _ in self.speaker.write([row]):
            pieces.append(row.piece)
            print(printable(row.piece), end="", flush=True)
            if taken():
                if not self.is_typed:
                    raise KeyboardInterrupt
                break
        print(flush=True)
        return "".join(pieces)


def note(text: str) -> None:
    """Say something that is no part of an answer."""
    print(f"[{text}]", file=sys.stderr, flush=True)


def printable(text: str) -> str:
    """Return text without characters that command a terminal."""
    return "".join(item for item in text if item in "\n\t" or unicodedata.category(item) != "Cc")
