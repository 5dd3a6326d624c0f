"""The worker: batches, limits, texts that nobody wants, failures, and the end."""

import queue
import threading
from types import SimpleNamespace

import pytest

from mindformers.errors import UsageError
from mindformers.serve.refusals import RefusedError
from mindformers.serve.worker import ABANDONED, Job, Worker

pytestmark = pytest.mark.usefixtures("joined")
LONGEST = 5


class Speaker:
    """Writes the letters of a row's word, one for each token that the test lets through."""

    def __init__(self):
        self.batches, self.tokens = [], threading.Semaphore(0)

    def write(self, rows):
        self.batches.append([row.word for row in rows])
        while not all(row.finished for row in rows):
            assert self.tokens.acquire(timeout=60)
            for row in rows:
                if row.word == "bad":
                    raise UsageError("not finite")
                if not row.finished:
                    row.piece = row.word[len(row.text)]
                    row.text += row.piece
                    row.finished = "length" if row.text == row.word else None
                else:
                    row.piece = ""
            yield


@pytest.fixture
def speaker():
    return Speaker()


@pytest.fixture
def worker(speaker):
    return Worker(speaker, max_queue=3, max_batch=2)


@pytest.fixture
def joined(worker, speaker):
    """Start the worker, and end it whatever a test left behind."""
    worker.start()
    yield
    speaker.tokens.release(1000)
    worker.stop()


def job(word):
    news = queue.Queue()
    made = Job(SimpleNamespace(word=word, text="", piece="", finished=None), lambda *item: news.put(item))
    made.news = news
    return made


def read(made):
    """Return the text that a job told, and why it ended."""
    text = ""
    while True:
        piece, reason = made.news.get(timeout=60)
        if isinstance(piece, RefusedError):
            return piece.status, str(piece)
        text += piece
        if reason:
            return text, reason


def wait_for_batch(speaker, count):
    for _ in range(6000):
        if len(speaker.batches) >= count:
            return
        threading.Event().wait(0.01)
    raise AssertionError(f"only {len(speaker.batches)} batches began")


def test_texts_that_wait_are_written_together_in_their_order(worker, speaker):
    jobs = [job(word) for word in ("one", "two", "three", "four")]
    worker.submit(jobs[:1])
    wait_for_batch(speaker, 1)
    worker.submit(jobs[1:])
    assert worker.counts() == {"waiting": 3, "writing": 1}
    speaker.tokens.release(100)
    assert [read(item) for item in jobs] == [(item.row.word, "length") for item in jobs]
    assert speaker.batches == [["one"], ["two", "three"], ["four"]]


def test_a_full_queue_takes_no_more(worker, speaker):
    worker.submit([job("one")])
    wait_for_batch(speaker, 1)
    worker.submit([job("two"), job("three")])
    with pytest.raises(RefusedError, match="2 texts wait already, of at most 3") as caught:
        worker.submit([job("four"), job("five")])
    assert caught.value.status == 429
    with pytest.raises(RefusedError, match="asks for 4 texts; at most 3") as caught:
        worker.submit([job("x") for _ in range(4)])
    assert caught.value.status == 400


def test_a_text_that_nobody_wants_is_not_written_on(worker, speaker):
    first, second, third = job("one"), job("two"), job("three")
    worker.submit([first, second])
    wait_for_batch(speaker, 1)
    second.is_abandoned = True
    speaker.tokens.release(3)
    assert read(first) == ("one", "length")
    assert second.row.finished == ABANDONED and second.row.text == "t" and second.news.empty()
    worker.submit([third])
    third.is_abandoned = True
    worker.submit([job("four")])
    speaker.tokens.release(100)
    wait_for_batch(speaker, 2)
    assert "three" not in speaker.batches[-1] or third.row.text in ("", "t")


def test_a_failure_ends_its_batch_and_not_the_worker(worker, speaker):
    speaker.tokens.release(100)
    bad, good = job("bad"), job("good")
    worker.submit([bad])
    assert read(bad) == (500, "not finite")
    worker.submit([good])
    assert read(good) == ("good", "length")


def test_an_ended_worker_fails_what_waits_and_takes_nothing(worker, speaker):
    writing, waiting = job("one"), job("two")
    worker.submit([writing])
    wait_for_batch(speaker, 1)
    worker.submit([waiting])
    ending = threading.Thread(target=worker.stop)
    ending.start()
    speaker.tokens.release(1)
    ending.join(timeout=60)
    assert read(waiting) == read(writing) == (503, "the server is shutting down")
    with pytest.raises(RefusedError, match="shutting down"):
        worker.submit([job("three")])
