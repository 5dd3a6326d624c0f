"""`mindformers serve` with the real client of the OpenAI API, over a real socket."""

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import mindspore as ms
import numpy as np
import pytest

from mindformers.cli import main
from mindformers.generation.text import UNFINISHED
from tests.conftest import ROOT
from tests.unit.tiny_speaker import POSITIONS, write_speaker

for package in ("fastapi", "uvicorn", "openai"):
    pytest.importorskip(package, reason="needs: pip install 'mindformers[test]'")

import httpx  # noqa: E402
import openai  # noqa: E402

from mindformers.serve.worker import ABANDONED  # noqa: E402
from tests.integration.running_server import KEY, PATIENCE, running_server, until  # noqa: E402

TALK = [{"role": "user", "content": "dog"}]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_speaker(tmp_path_factory.mktemp("served") / "tiny")


@pytest.fixture(scope="module")
def server(folder):
    """A running server in this process, so that tests see the model behind it."""
    with running_server(folder) as running:
        yield running


@pytest.fixture(scope="module")
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key=KEY, max_retries=0, timeout=PATIENCE) as made:
        yield made


@pytest.fixture
def post(server):
    """Send a body as it is."""
    with httpx.Client(base_url=server.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=PATIENCE) as plain:
        yield lambda body, path="completions": plain.post(
            f"/v1/{path}", content=body, headers={"Content-Type": "application/json"}
        )


def complete(client, prompt="the quick", **options):
    return client.completions.create(
        **{"model": "tiny", "prompt": prompt, "max_tokens": 8, "temperature": 0, **options}
    )


def expected(server, inputs, **options):
    return server.speaker.model.generate(inputs, settings=server.speaker.settings, max_new_tokens=8, **options)


def test_the_models_are_listed(client):
    assert [model.id for model in client.models.list()] == ["tiny"]
    assert client.models.retrieve("tiny").owned_by == "mindformers"


def test_a_completion_is_what_generate_writes(server, client):
    answer = complete(client)
    assert answer.choices[0].text == expected(server, "the quick") != ""
    assert answer.choices[0].finish_reason == "length" and answer.object == "text_completion"
    prompt_tokens = len(server.speaker.tokenizer("the quick")["input_ids"])
    assert answer.usage.to_dict() == {
        "prompt_tokens": prompt_tokens,
        "completion_tokens": 8,
        "total_tokens": prompt_tokens + 8,
    }


def test_a_streamed_completion_is_the_same_in_pieces(server, client):
    pieces = list(complete(client, stream=True, stream_options={"include_usage": True}))
    assert len(pieces) > 4
    assert "".join(piece.choices[0].text for piece in pieces[:-1]) == expected(server, "the quick")
    assert [piece.choices[0].finish_reason for piece in pieces[-3:-1]] == [None, "length"]
    assert pieces[-1].choices == [] and pieces[-1].usage.completion_tokens == 8


def test_several_prompts_and_ids_are_answered_in_their_order(server, client):
    texts = ["the quick", "dog"]
    answer = complete(client, texts)
    assert [choice.text for choice in answer.choices] == expected(server, texts)
    ids = server.speaker.tokenizer("dog")["input_ids"].tolist()
    assert complete(client, ids).choices[0].text == expected(server, "dog")
    assert [choice.index for choice in complete(client, [ids, ids]).choices] == [0, 1]


def test_several_answers_differ_and_a_seed_repeats_them(client):
    first, second = (complete(client, n=2, temperature=1, seed=5) for _ in range(2))
    texts = [choice.text for choice in first.choices]
    assert len(set(texts)) == 2 and texts == [choice.text for choice in second.choices]
    assert [choice.text for choice in complete(client, n=2, temperature=1, seed=6).choices] != texts


def test_a_stop_text_ends_the_answer_and_is_no_part_of_it(server, client):
    text = expected(server, "the quick")
    stop = next(letter for letter in text[1:] if letter != UNFINISHED)
    choice = complete(client, stop=stop).choices[0]
    assert choice.text == text[: text.index(stop)] and choice.finish_reason == "stop"


def test_a_chat_follows_the_template(server, client):
    answer = client.chat.completions.create(model="tiny", messages=TALK, max_completion_tokens=8, temperature=0)
    message = answer.choices[0].message
    ids = server.speaker.prompt(TALK)
    assert message.role == "assistant" and message.content == expected(server, ids)
    assert answer.usage.prompt_tokens == len(ids) and answer.object == "chat.completion"


def test_a_streamed_chat_begins_with_the_role_and_ends_with_the_reason(server, client):
    stream = client.chat.completions.create(model="tiny", messages=TALK, max_tokens=8, temperature=0, stream=True)
    choices = [piece.choices[0] for piece in stream]
    assert choices[0].delta.role == "assistant" and choices[-1].finish_reason == "length"
    assert "".join(choice.delta.content or "" for choice in choices) == expected(server, server.speaker.prompt(TALK))


def test_requests_that_wait_are_written_in_one_batch(server, client):
    texts = ["dog", "fox", "the quick"]
    server.gate.is_open.clear()
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(complete, client, "lazy")
        until(lambda: server.worker.counts() == {"waiting": 0, "writing": 1})
        others = [pool.submit(complete, client, text) for text in texts]
        until(lambda: server.worker.counts()["waiting"] == 3)
        server.gate.is_open.set()
        found = [item.result().choices[0].text for item in others]
        assert first.result().choices[0].text == expected(server, "lazy")
    assert found == [expected(server, text) for text in texts]
    assert len(server.gate.batches[-1]) == 3


def test_a_full_queue_is_refused_with_429(server, client):
    server.gate.is_open.clear()
    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(complete, client)
        until(lambda: server.worker.counts()["writing"] == 1)
        second = pool.submit(complete, client, n=4, temperature=1)
        until(lambda: server.worker.counts()["waiting"] == 4)
        with pytest.raises(openai.RateLimitError, match="4 texts wait already"):
            complete(client)
        server.gate.is_open.set()
        assert first.result() and len(second.result().choices) == 4


@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_hangs_up_stops_its_text(server, client, stream):
    server.gate.is_open.clear()
    with socket.create_connection(server.url[7:].split(":")) as connection:
        body = json.dumps(
            {"model": "tiny", "prompt": "the quick", "max_tokens": 50, "temperature": 0, "stream": stream}
        )
        head = f"POST /v1/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall((head + body).encode())
        until(lambda: server.worker.counts()["writing"] == 1)
        if stream:
            assert b"200 OK" in connection.recv(1000)
    job = server.worker._writing[0]
    until(lambda: job.is_abandoned)
    server.gate.is_open.set()
    until(lambda: server.worker.counts()["writing"] == 0)
    assert job.row.finished == ABANDONED and len(job.row.tokens) < 5
    assert complete(client).choices[0].text


def test_logits_that_are_not_finite_are_a_500_and_the_server_lives_on(server, client):
    model = server.speaker.model
    norm = model.norm_out.gamma if hasattr(model.norm_out, "gamma") else next(iter(model.norm_out.get_parameters()))
    before = norm.asnumpy().copy()
    ms.ops.assign(norm, ms.Tensor(np.full_like(before, np.nan)))
    try:
        for stream in (False, True):
            with pytest.raises(openai.InternalServerError, match="not finite"):
                complete(client, stream=stream)
    finally:
        ms.ops.assign(norm, ms.Tensor(before))
    assert complete(client).choices[0].text == expected(server, "the quick")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"max_tokens": POSITIONS}, f"asks for {POSITIONS} new ones; prompt and answer together may have {POSITIONS}"),
        ({"prompt": "dog" * POSITIONS}, "tokens and asks for 8 new ones"),
        ({"prompt": [1, 100000]}, "holds the id 100000"),
        ({"prompt": ["a", 1]}, "cannot be mixed"),
        ({"frequency_penalty": 1}, "frequency_penalty: .*this server cannot do it"),
        ({"extra_body": {"max_token": 1}}, "unknown parameter 'max_token'"),
        ({"n": 5, "temperature": 1}, "asks for 5 texts; at most 4"),
        ({"stop": [""]}, "not empty"),
    ],
)
def test_a_request_that_cannot_be_served_is_a_400(client, options, said):
    with pytest.raises(openai.BadRequestError, match=said) as caught:
        complete(client, **options)
    assert caught.value.type == "invalid_request_error"


def test_another_model_is_a_404(client):
    with pytest.raises(openai.NotFoundError, match="no model 'gpt' here; it is 'tiny'") as caught:
        complete(client, model="gpt")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("{", "no JSON"),
        ("[]", "must be a JSON object"),
        ("{}", "Field required"),
        ('{"model": 1}', "model"),
        (b"\xff", "parsing the body"),
        ("[" * 100_000, "parsing the body"),
    ],
    ids=["cut off", "no object", "empty", "wrong type", "no UTF-8", "nested deep"],
)
@pytest.mark.parametrize("path", ["completions", "chat/completions"])
def test_a_malformed_body_is_a_400(post, body, said, path):
    response = post(body, path)
    assert response.status_code == 400 and said in response.json()["error"]["message"]


@pytest.mark.parametrize("value", ['"prompt": "\\ud800"', '"prompt": "a", "stop": "\\ud800"', '"\\ud800": 1'])
def test_half_a_character_is_a_400(post, value):
    response = post(f'{{"model": "tiny", {value}}}')
    assert response.status_code == 400 and "half of a character" in response.json()["error"]["message"]


def test_unknown_addresses_answer_in_the_same_form(post, server):
    assert post("{}", "embeddings").json()["error"]["type"] == "not_found_error"
    assert httpx.get(f"{server.url}/v1/completions").status_code == 405


@pytest.mark.parametrize("key", ["wrong", "schlüssel"])
def test_a_wrong_key_is_a_401(server, key):
    headers = [("Authorization", f"Bearer {key}".encode()), ("Content-Type", "application/json")]
    response = httpx.post(f"{server.url}/v1/completions", headers=headers, content='{"model": "tiny", "prompt": "x"}')
    assert response.status_code == 401 and response.json()["error"]["code"] == "invalid_api_key"
    assert httpx.get(f"{server.url}/v1/models").status_code == 401


def test_page_and_health_need_no_key(server):
    page = httpx.get(server.url)
    assert page.status_code == 200 and "default-src 'none'" in page.headers["Content-Security-Policy"]
    assert not re.search(r"(?:src|href)=\"?https?:", page.text)
    assert httpx.get(f"{server.url}/health").json() == {"status": "ok", "waiting": 0, "writing": 0}


@contextlib.contextmanager
def started(*arguments, **environment):
    """Start the command; yields the process and its address."""
    command = [sys.executable, "-m", "mindformers.cli", "serve", "--port", "0", *map(str, arguments)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), **environment}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables) as process:
        try:
            lines = []
            for line in process.stderr:
                lines.append(line)
                found = re.search(r"a page to chat at (\S+)/", line)
                if found:
                    break
            yield process, found and found[1], lines
        finally:
            process.kill()


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGINT])
def test_the_command_serves_until_it_is_told_to_end(folder, told):
    with started("--model", folder, "--max-tokens", 40, MINDFORMERS_API_KEY=KEY) as (process, url, lines):
        assert url, lines
        until(lambda: _is_up(url))
        assert httpx.get(f"{url}/v1/models").status_code == 401
        with openai.OpenAI(base_url=f"{url}/v1", api_key=KEY, max_retries=0, timeout=PATIENCE) as client:
            stream = complete(client, max_tokens=30, stream=True)
            next(stream)
            process.send_signal(told)
            assert list(stream)[-1].choices[0].finish_reason, "what was begun is finished"
        rest = process.stderr.read()
        assert process.wait(PATIENCE) == 0 and "the server has ended" in rest and "Traceback" not in rest


def _is_up(url):
    with contextlib.suppress(httpx.TransportError):
        return httpx.get(f"{url}/health").is_success


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--max-tokens", "65"], "at most 64 tokens"),
        (["--max-queue", "0"], "--max-queue 0: it must be at least 1"),
        (["--host", "203.0.113.1"], "cannot listen there"),
    ],
)
def test_options_that_cannot_be_used_end_the_command(folder, capsys, options, said):
    handlers = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    assert main(["serve", "--model", str(folder), *options]) == 2
    assert said in capsys.readouterr().err
    assert handlers == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
