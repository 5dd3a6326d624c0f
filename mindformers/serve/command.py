"""`mindformers serve`: a model behind an HTTP address until the process is told to end."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path
from typing import Optional

from mindformers.chat.speaker import Speaker
from mindformers.errors import MissingExtraError, UsageError
from mindformers.log import logger, start_stream
from mindformers.serve.worker import Worker

KEY_VARIABLE = "MINDFORMERS_API_KEY"
"""Where the key is looked for when none is given: a command line can be read by other users of a computer."""
GRACE = 10
"""Seconds that requests get to finish in when the server is told to end."""


def serve(
    model: str,
    adapter: Optional[str] = None,
    template: Optional[str] = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    api_key: Optional[str] = None,
    max_queue: int = 64,
    max_tokens: Optional[int] = None,
    max_batch: int = 8,
    dtype: str = "float32",
) -> None:
    """Serve the model of a folder under the folder's name, until SIGINT or SIGTERM.

    `max_tokens` counts prompt and answer of a text, by default what the model was made for; `dtype` as of
    `Speaker.load`. Raises MissingExtraError
    without fastapi and uvicorn, UsageError for limits that cannot be used and an address that is taken.
    """
    try:
        import uvicorn

        from mindformers.serve.app import make_app
        from mindformers.serve.intake import Intake
    except ImportError as error:
        raise MissingExtraError(str(error.name), "serve", "mindformers serve") from None
    for flag, value in (("--max-queue", max_queue), ("--max-batch", max_batch), ("--max-tokens", max_tokens)):
        if value is not None and value < 1:
            raise UsageError(f"{flag} {value}: it must be at least 1")
    speaker = Speaker.load(model, adapter, template, dtype)
    most = speaker.most_tokens
    if max_tokens is not None and max_tokens > most:
        raise UsageError(f"--max-tokens {max_tokens}: the model reads and writes at most {most} tokens")
    start_stream()
    intake = Intake(speaker, Path(model).resolve().name, max_tokens or most)
    worker = Worker(speaker, max_queue, max_batch)
    app = make_app(intake, worker, api_key or os.environ.get(KEY_VARIABLE))
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", ws="none", timeout_graceful_shutdown=GRACE))
    with _listening(host, port) as listening:
        address = "http://{}:{}".format(*listening.getsockname()[:2])
        logger.info("serving '%s' at %s/v1, a page to chat at %s/", intake.name, address, address)
        # uvicorn ends in order at these signals and then raises them again; the process has done what they ask for.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: None)
        try:
            server.run(sockets=[listening])
        finally:
            worker.stop()  # a second signal ends uvicorn without its shutdown
    logger.info("the server has ended")


def _listening(host: str, port: int) -> socket.socket:
    """Return the socket to listen at. Raises UsageError when it cannot be had."""
    found = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        found.bind((host, port))
    except (OSError, OverflowError) as error:
        found.close()
        raise UsageError(f"--host {host} --port {port}: cannot listen there: {error}") from None
    return found
