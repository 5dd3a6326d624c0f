"""Weights by name: what lies on disk, the client's cache without a network, and a real download from a local server."""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from huggingface_hub import constants

from mindformers.errors import CheckpointError
from mindformers.models.auto import AutoConfig
from mindformers.weights import hub
from mindformers.weights.find import find_description, find_weights
from mindformers.weights.readers import BIN, BIN_INDEX, INDEX, SINGLE
from tests.conftest import ROOT

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NOWHERE = "http://127.0.0.1:9"
SECONDS = 30
"""More than a failure takes on a busy machine, less than a chain of retries."""
CONFIG = {"model_type": "bert", "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "vocab_size": 12}


@pytest.fixture(autouse=True)
def own_folders(tmp_path, monkeypatch):
    """Work in an empty folder with an empty cache; nothing is read from the user's own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", NOWHERE)
    monkeypatch.delenv("HF_TOKEN", raising=False)


@pytest.fixture
def cache(tmp_path):
    """Return a function that puts a model into the cache as the client lays it out."""

    def put(name, files):
        folder = tmp_path / "cache" / f"models--{name.replace('/', '--')}"
        snapshot = folder / "snapshots" / COMMIT
        snapshot.mkdir(parents=True)
        (folder / "refs").mkdir()
        (folder / "refs" / "main").write_text(COMMIT)
        for file, content in files.items():
            (snapshot / file).write_bytes(content)
        return snapshot

    return put


def tiny_files():
    """Return the files of a tiny BERT."""
    import numpy as np
    from safetensors.numpy import save

    from mindformers.arch.paths import parameter_table
    from mindformers.models.bert.config import BertConfig
    from mindformers.models.bert.weights import WEIGHTS

    table = parameter_table(BertConfig.from_hf(CONFIG).arch("pooler"))
    values = np.random.default_rng(0)
    arrays = {
        step.theirs: values.normal(size=table[step.paths[0]].shape).astype("float32")
        for step in WEIGHTS.export(list(table), base=True)
    }
    return {"config.json": json.dumps(CONFIG).encode(), SINGLE: save(arrays)}


class HubHandler(BaseHTTPRequestHandler):
    """The part of the hub's interface that reading a model needs."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.split("?")[0]
        self.server.asked.append(f"{self.command} {path}")
        owner_name = "/".join(path.removeprefix("/api/models").strip("/").split("/")[:2])
        if owner_name == "secret/gated" and "/resolve/" in path:
            return self.answer(403, b"{}", {"X-Error-Code": "GatedRepo", "X-Error-Message": "ask for access"})
        if owner_name not in ("tiny/bert", "secret/gated"):
            return self.answer(404, b"{}", {"X-Error-Code": "RepoNotFound"})
        if path.startswith("/api/models") and "/tree/" in path:
            entries = [
                {"type": "file", "path": name, "size": len(content), "oid": f"{index:040x}"}
                for index, (name, content) in enumerate(self.server.files.items())
            ]
            return self.answer(200, json.dumps(entries).encode())
        if path.startswith("/api/models"):
            if "/revision/" in path and path.rsplit("/", 1)[1] not in ("main", "v1", COMMIT):
                return self.answer(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            siblings = [{"rfilename": name} for name in self.server.files]
            body = {"_id": "0", "id": owner_name, "modelId": owner_name, "sha": COMMIT, "siblings": siblings}
            return self.answer(200, json.dumps(body).encode())
        name = path.rsplit("/", 1)[1]
        content = self.server.files[name]
        etag = f'"{list(self.server.files).index(name):040x}"'
        return self.answer(200, content, {"ETag": etag, "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"})

    def answer(self, status, body, headers=None):
        self.send_response(status)
        for key, value in {"Content-Type": "application/json", **(headers or {})}.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


@pytest.fixture
def server(monkeypatch):
    """A hub on this machine that offers one tiny model."""
    running = ThreadingHTTPServer(("127.0.0.1", 0), HubHandler)
    running.files, running.asked = {**tiny_files(), "vocab.txt": b"[PAD]\n", "big.onnx": b"x", BIN: b"x"}, []
    threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
    running.url = f"http://127.0.0.1:{running.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", running.url)
    template = running.url + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    yield running
    running.shutdown()
    running.server_close()


def problems(name, find=find_weights, **options):
    with pytest.raises(CheckpointError) as caught:
        find(name, **options)
    return str(caught.value)


def test_a_path_comes_before_every_name(tmp_path):
    (tmp_path / "gpt2").mkdir()
    assert find_weights("gpt2") == Path("gpt2")


def test_a_downloaded_name_comes_before_the_hub(tmp_path):
    folder = tmp_path / "checkpoint_download" / "bert" / "bert_base_uncased"
    folder.mkdir(parents=True)
    assert find_weights("bert_base_uncased").resolve() == folder
    assert find_weights("mindspore/bert_base_uncased").resolve() == folder


@pytest.mark.parametrize(
    ("name", "expected"),
    {
        "bert_base_uncased": "google-bert/bert-base-uncased",
        "mindspore/bert_base_uncased": "google-bert/bert-base-uncased",
        "t5_small": "google-t5/t5-small",
        "gpt2": "gpt2",
        "bert-base-uncased": "bert-base-uncased",
        "someone/My_Model.v2": "someone/My_Model.v2",
        "bert_base_uncasd": None,
        "a/b/c": None,
        "../x": None,
        "model.safetensors": None,
        "out/model.ckpt": None,
        "x" * 97: None,
    }.items(),
)
def test_what_a_name_is_called_on_the_hub(name, expected):
    assert hub.identity(name) == expected


def test_every_row_of_the_table_is_a_name_the_hub_accepts():
    assert all(hub.identity(value) == value for value in hub.RELEASED.values())


@pytest.mark.parametrize(
    ("offered", "weights"),
    [
        ([SINGLE, BIN, INDEX], [SINGLE]),
        ([BIN, "tf_model.h5", "onnx/model.safetensors"], [BIN]),
        ([INDEX, "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", BIN], "all but bin"),
        ([BIN_INDEX, "pytorch_model-00001-of-00001.bin", "adapter.bin"], "all but adapter"),
        (["tf_model.h5"], []),
    ],
    ids=["single", "bin alone", "shards", "bin shards", "none"],
)
def test_one_kind_of_weights_is_chosen_and_safetensors_first(offered, weights):
    described = ["config.json", "tokenizer.json", "spiece.model", "chat_template.jinja", "generation_config.json"]
    expected = {"all but bin": offered[:-1], "all but adapter": offered[:-1]}.get(str(weights), weights)
    found = hub.chosen([*described, *offered, "README.md", "modeling.py"], with_weights=True)
    assert sorted(found) == sorted([*described, *expected])
    assert hub.chosen([*described, *offered], with_weights=False) == described


def test_a_copy_in_the_cache_serves_without_a_network(cache, monkeypatch):
    snapshot = cache("google-bert/bert-base-uncased", {"config.json": b"{}", SINGLE: b"x"})
    assert find_weights("bert_base_uncased") == snapshot
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert find_weights("bert_base_uncased") == snapshot
    assert find_weights("google-bert/bert-base-uncased", revision=COMMIT) == snapshot


def test_a_copy_without_weights_serves_a_reader_of_the_configuration(cache):
    snapshot = cache("google-t5/t5-small", {"config.json": b"{}"})
    assert find_description("t5_small") == snapshot
    assert "an earlier copy, without weights" in problems("t5_small")


def test_without_network_and_copy_the_message_says_what_was_looked_for_and_where(tmp_path):
    started = time.monotonic()
    said = problems("bert_base_uncased")
    assert time.monotonic() - started < SECONDS
    for part in (
        "no such path: bert_base_uncased",
        "./checkpoint_download/<family>/",
        f"{NOWHERE}/google-bert/bert-base-uncased cannot be fetched",
        f"no earlier copy in {tmp_path / 'cache'}",
        "HF_ENDPOINT names a mirror",
    ):
        assert part in said


def test_offline_mode_is_named(monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "HF_HUB_OFFLINE is set" in problems("gpt2")


def test_a_misspelt_name_is_not_sent_to_the_hub():
    said = problems("bert_base_uncasd")
    assert "Did you mean 'bert_base_uncased'" in said
    assert NOWHERE not in said


def test_a_path_that_does_not_exist_is_not_sent_to_the_hub():
    assert NOWHERE not in problems("./weights") + problems("/no/weights") + problems("a/b/c")


def test_a_model_is_downloaded_once(server, tmp_path):
    folder = find_weights("tiny/bert")
    assert sorted(item.name for item in folder.iterdir()) == ["config.json", SINGLE, "vocab.txt"]
    assert (folder / SINGLE).read_bytes() == server.files[SINGLE]
    assert str(folder).startswith(str(tmp_path / "cache"))
    server.asked.clear()
    assert find_weights("tiny/bert") == folder
    assert not [line for line in server.asked if line.startswith("GET /tiny")]


def test_a_bin_file_is_taken_where_there_is_nothing_else(server):
    del server.files[SINGLE]
    assert sorted(item.name for item in find_weights("tiny/bert").iterdir()) == ["config.json", BIN, "vocab.txt"]


def test_a_revision_is_asked_for(server):
    assert find_weights("tiny/bert", revision="v1").name == COMMIT
    assert any("/revision/v1" in line for line in server.asked)
    assert "has no revision 'v9'" in problems("tiny/bert", revision="v9")


def test_the_configuration_alone_needs_no_weights(server):
    assert AutoConfig.from_pretrained("tiny/bert").hidden_size == 8
    assert not [line for line in server.asked if SINGLE in line]


def test_downloaded_weights_fill_a_model(server):
    import numpy as np
    from safetensors.numpy import load

    from mindformers.models.auto import AutoModel

    model = AutoModel.from_pretrained("tiny/bert")
    theirs = load(server.files[SINGLE])["embeddings.word_embeddings.weight"]
    ours = next(item for item in model.get_parameters() if item.name == "embed.tokens.weight")
    np.testing.assert_array_equal(ours.asnumpy(), theirs)


@pytest.mark.parametrize(
    ("name", "said"),
    [("no/model", "has no model 'no/model'"), ("secret/gated", "is gated; accept its terms")],
    ids=["unknown", "gated"],
)
def test_a_refusal_of_the_hub_is_explained(server, name, said):
    assert said in problems(name)


def test_a_model_without_readable_weights_says_what_it_offers(server):
    server.files = {"config.json": b"{}", "tf_model.h5": b""}
    assert "offers no weights" in problems("tiny/bert")
    assert "tf_model.h5" in problems("tiny/bert")


def test_the_environment_chooses_endpoint_and_cache(server, tmp_path):
    code = "import sys; from mindformers.weights.find import find_weights; print(find_weights(sys.argv[1]))"
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "HF_ENDPOINT": server.url,
        "HF_HUB_CACHE": str(tmp_path / "x"),
    }
    command = [sys.executable, "-c", code, "tiny/bert"]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert result.returncode == 0, result.stderr
    assert Path(result.stdout.strip()).is_relative_to(tmp_path / "x")


def test_a_run_that_cannot_reach_the_hub_ends_with_one_message(tmp_path):
    config = ROOT / "configs" / "qa" / "run_qa_bert_base_uncased.yaml"
    command = [sys.executable, str(ROOT / "run_mindformer.py"), "--config", str(config), "--run_mode", "finetune"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "HF_ENDPOINT": NOWHERE, "HF_HOME": str(tmp_path / "home")}
    result = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, env=environment, timeout=300, check=False
    )
    assert result.returncode == 2, result.stdout + result.stderr
    assert "error: qa_bert_base_uncased" in result.stderr
    assert f"{NOWHERE}/google-bert/bert-base-uncased cannot be fetched" in result.stderr
    assert "Traceback" not in result.stderr
