"""A server in this process over a real socket, whose model tests can see and hold."""

import contextlib
import socket
import threading
import time
from types import SimpleNamespace

import uvicorn

from mindformers.chat.speaker import Speaker
from mindformers.serve.app import make_app
from mindformers.serve.intake import Intake
from mindformers.serve.worker import Worker
from tests.unit.tiny_speaker import POSITIONS

KEY = "secret"
PATIENCE = 120
"""Seconds; the first text of each size compiles its graphs."""


class Gate:
    """Lets the speaker's tokens through while it is open, the first ones always; keeps the rows of every batch."""

    def __init__(self, speaker, always):
        self.speaker, self.always, self.is_open, self.batches = speaker, always, threading.Event(), []
        self.is_open.set()

    def write(self, rows):
        self.batches.append(rows)
        for number, _ in enumerate(self.speaker.write(rows), start=1):
            yield
            # After its last token a batch must not wait: the next test may have closed the gate already.
            is_held = number >= self.always and not all(row.finished for row in rows)
            assert not is_held or self.is_open.wait(PATIENCE)


@contextlib.contextmanager
def running_server(folder, always=1):
    """Serve the model of a folder; yields its url, speaker, gate and worker. `always` counts tokens of a batch."""
    speaker = Speaker.load(str(folder))
    gate = Gate(speaker, always)
    worker = Worker(gate, max_queue=4, max_batch=4)
    app = make_app(Intake(speaker, "tiny", POSITIONS), worker, KEY)
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        running = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=10))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listening]})
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        try:
            yield SimpleNamespace(url=url, speaker=speaker, gate=gate, worker=worker)
        finally:
            gate.is_open.set()
            running.should_exit = True
            thread.join()


def until(condition):
    """Wait for a condition and return what made it true."""
    for _ in range(PATIENCE * 100):
        found = condition()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError("what was waited for did not come")
