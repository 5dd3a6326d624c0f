"""`mindformers chat` as a user sees it: typed into a terminal, and piped."""

import codecs
import contextlib
import fcntl
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import termios
import time

import pytest
from safetensors.numpy import load_file, save_file

from mindformers.cli import main
from tests.conftest import ROOT
from tests.unit.tiny_speaker import write_speaker

pytest.importorskip("jinja2", reason="needs: pip install 'mindformers[chat]'")

PATIENCE = 120
"""Seconds; the first answer compiles its graphs."""
COMMAND = [sys.executable, "-m", "mindformers.cli", "chat"]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "dumb", "LC_ALL": "C.UTF-8", "INPUTRC": os.devnull}
NOTE = re.compile(r"\[(\d+) tokens?, [\d.]+ tokens/s(.*)\]")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_speaker(tmp_path_factory.mktemp("chat") / "tiny")


class Typist:
    """A terminal with the program behind it."""

    def __init__(self, *arguments):
        self.main, behind = pty.openpty()
        streams = {"stdin": behind, "stdout": behind, "stderr": behind}
        self.process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            **streams,
            env=ENVIRONMENT,
            start_new_session=True,
            preexec_fn=_own_terminal,
        )
        os.close(behind)
        self.screen, self._seen = "", 0
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")

    def read_until(self, pattern):
        """Return the next match on the screen, and go on behind it."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = re.compile(pattern).search(self.screen, self._seen)
            if found:
                self._seen = found.end()
                return found
            assert time.monotonic() < deadline, self.screen
            if select.select([self.main], [], [], 1)[0]:
                assert self._read(), f"the program has ended: {self.screen}"

    def type_until(self, keys, pattern, seconds=20):
        """Type keys until a pattern shows, rarely again: a signal is lost before a read begins, a second one harms."""
        deadline = time.monotonic() + PATIENCE
        while not re.compile(pattern).search(self.screen, self._seen):
            assert time.monotonic() < deadline, self.screen
            self.type(keys)
            until = time.monotonic() + seconds
            while time.monotonic() < until and not re.compile(pattern).search(self.screen, self._seen):
                if select.select([self.main], [], [], 1)[0]:
                    assert self._read(), f"the program has ended: {self.screen}"
        return self.read_until(pattern)

    def type(self, keys):
        os.write(self.main, keys.encode())

    def ended(self):
        """Return the exit code; what is left on the screen is read meanwhile."""
        while self._read():
            pass
        return self.process.wait(PATIENCE)

    def _read(self):
        """Take in what is new; False when the program has closed its side."""
        try:
            self.screen += self._decoder.decode(os.read(self.main, 65536))
        except OSError:  # Linux's way of saying so
            return False
        return True


def _own_terminal():
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


@contextlib.contextmanager
def terminal(*arguments):
    typist = Typist(*arguments)
    try:
        yield typist
    finally:
        typist.process.kill()
        typist.process.wait()
        os.close(typist.main)


def piped(text, *arguments):
    result = subprocess.run(
        [*COMMAND, *map(str, arguments)],
        input=text.encode(),
        capture_output=True,
        env=ENVIRONMENT,
        timeout=PATIENCE,
    )
    return result.returncode, result.stdout.decode(), result.stderr.decode()


def test_a_conversation_in_a_terminal(folder):
    with terminal("--model", folder, "--max-new-tokens", 20) as typist:
        typist.read_until("q or quit or exit ends, clear or new begins anew, Ctrl-C stops an answer")
        typist.read_until("> ")
        typist.type("dogs\b\n")  # line editing: the last letter is taken back
        assert int(typist.read_until(NOTE.pattern)[1]) <= 20
        typist.read_until("> ")
        typist.type("你好\n")
        assert "你好" in typist.read_until(r"(?s)(.*)" + NOTE.pattern)[1]
        typist.read_until("> ")
        typist.type("half a li")
        typist.read_until("half a li")
        typist.type_until("\x03", "> ")  # Ctrl-C at the prompt drops the line
        typist.type("new\n")
        typist.read_until(r"\[new conversation\]")
        typist.read_until("> ")
        typist.type("\x04")
        assert typist.ended() == 0


def test_control_c_stops_an_answer_and_not_the_program(folder, tmp_path):
    with terminal("--model", folder, "--max-new-tokens", 30) as typist:
        typist.read_until("> ")
        typist.type("dog\n")
        typist.read_until(r"dog\r\n")
        time.sleep(1)
        typist.type("\x03")  # while the graphs are compiled
        found = typist.read_until(NOTE.pattern)
        assert int(found[1]) < 30 and found[2] == ", stopped"
        typist.read_until("> ")
        typist.type("dog\n")
        assert typist.read_until(NOTE.pattern)[2] != ", stopped"
        typist.read_until("> ")
        typist.type("exit\n")
        assert typist.ended() == 0


def test_piped_questions_are_answered_on_standard_output_alone(folder):
    code, answers, notes = piped("dog\n\nclear\ndog\nquit\nfox\n", "--model", folder, "--max-new-tokens", 8)
    assert code == 0 and len(NOTE.findall(notes)) == 2 and "[new conversation]" in notes
    assert len(answers) > 4 and answers[: len(answers) // 2] == answers[len(answers) // 2 :]
    assert ">" not in answers and "tokens/s" not in answers


def test_a_long_conversation_forgets_its_beginning_and_a_long_question_is_refused(folder):
    talk = "the quick brown fox\n" * 4 + "x" * 200 + "\ndog\n"
    code, _, notes = piped(talk, "--model", folder, "--max-new-tokens", 16, "--temperature", 1, "--seed", 3)
    assert code == 0 and "the first 1 question and answers are forgotten" in notes
    assert re.search(r"error: the message has \d+ tokens and there is room for 48: shorten it", notes)
    assert len(NOTE.findall(notes)) == 5, "the question after the refused one is answered"


def test_damaged_weights_are_told_and_the_session_lives_on(folder, tmp_path):
    damaged = shutil.copytree(folder, tmp_path / "damaged")
    weights = load_file(damaged / "model.safetensors")
    name = next(name for name in weights if name.endswith("ln_f.weight"))
    weights[name] = weights[name] * float("nan")
    save_file(weights, damaged / "model.safetensors")
    code, answers, notes = piped("dog\nfox\n", "--model", damaged)
    assert code == 0 and notes.count("are not finite") == 2 and not answers.strip()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--template", "nope"], "unknown chat template 'nope'. Known: alpaca, baichuan"),
        (["--adapter", "x"], "x: no adapter, adapter_config.json cannot be read"),
        (["--max-new-tokens", "64"], "the model reads and writes 64 tokens in all"),
        (["--top-p", "2"], "top_p=2.0: it must be above 0 and at most 1"),
        (["--some.key=1"], "'mindformers chat' takes no configuration keys"),
    ],
)
def test_options_that_cannot_be_used_end_the_command(folder, capsys, options, said):
    assert main(["chat", "--model", str(folder), *options]) == 2
    assert said in capsys.readouterr().err
