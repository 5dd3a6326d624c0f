"""Causal language modelling: sources to features, labels that meet the right logits, and documents kept apart."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from mindformers.arch.stacks import DecoderArch, Rotary
from mindformers.config.check import check_file
from mindformers.data.indexed import IndexedDataLoader, IndexedWriter
from mindformers.data.records import MindDataset, write_records
from mindformers.data.text_documents import TextDataLoader
from mindformers.errors import DataError, UsageError
from mindformers.models.decoder import DecoderModel
from mindformers.tasks.text_generation import TextGenerationTask
from mindformers.tokenizers.byte_level import GPT2Tokenizer
from mindformers.tokenizers.characters import CharacterTokenizer
from tests.conftest import CONFIGS
from tests.parity.tolerances import CELL

SIZES = {
    "vocab_size": 41,
    "hidden_size": 24,
    "num_layers": 2,
    "num_heads": 3,
    "intermediate_size": 32,
    "max_positions": 12,
    "pre_norm": True,
    "head": "causal_lm",
}
KINDS = {
    "learned": {"positions": "learned"},
    "rotary": {"positions": "rotary"},
    "rotary in pairs": {"positions": "rotary", "rotary": Rotary(interleaved=True)},
    "alibi": {"positions": "alibi"},
}


@pytest.fixture(autouse=True)
def pynative():
    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=ms.GRAPH_MODE)


def model_of(kind):
    return DecoderModel(DecoderArch(**SIZES, **KINDS[kind]), seed=1)


@pytest.fixture
def ids():
    return np.random.default_rng(5).integers(0, 41, (2, 11)).astype(np.int32)


DOCUMENT_IDS = np.array([[0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2], [4, 4, 4, 4, 4, 4, 4, 4, 4, 4, 7]], np.int32)


@pytest.mark.parametrize("mode", [ms.PYNATIVE_MODE, ms.GRAPH_MODE], ids=["pynative", "graph"])
@pytest.mark.parametrize("kind", KINDS)
def test_documents_of_a_packed_block_give_the_logits_that_they_give_alone(kind, mode, ids):
    if mode == ms.GRAPH_MODE and kind != "learned":
        mode = ms.PYNATIVE_MODE  # one compiled case is enough
    ms.set_context(mode=mode)
    model = model_of(kind)
    packed = model(Tensor(ids), document_ids=Tensor(DOCUMENT_IDS)).asnumpy()
    joined = model(Tensor(ids)).asnumpy()
    for row in range(2):
        for number in np.unique(DOCUMENT_IDS[row]):
            places = np.flatnonzero(DOCUMENT_IDS[row] == number)
            alone = model(Tensor(ids[row : row + 1, places])).asnumpy()[0]
            np.testing.assert_allclose(packed[row, places], alone, atol=CELL)
            if number != DOCUMENT_IDS[row, 0]:
                assert np.abs(joined[row, places] - alone).max() > 100 * CELL


def test_a_document_takes_part_in_training_as_it_does_alone(ids):
    model = model_of("learned")
    labels = np.concatenate([ids, ids[:, :1]], 1)
    labels[0, 3:] = -100
    labels[1, 1:] = -100
    gradient = ms.value_and_grad(lambda a, b, c: model(a, labels=b, document_ids=c), None, model.trainable_params())
    loss, packed = gradient(Tensor(ids), Tensor(labels), Tensor(DOCUMENT_IDS))
    alone_loss, alone = ms.value_and_grad(lambda a: model(a, labels=a), None, model.trainable_params())(
        Tensor(ids[:1, :3])
    )
    assert float(loss) == pytest.approx(float(alone_loss), rel=CELL)
    for one, other in zip(packed, alone):
        np.testing.assert_allclose(one.asnumpy(), other.asnumpy(), atol=CELL)


def test_labels_of_one_token_more_add_the_prediction_after_the_last_token(ids):
    model = model_of("learned")
    whole = float(model(Tensor(ids), labels=Tensor(ids)))
    shorter = float(model(Tensor(ids[:, :-1]), labels=Tensor(ids)))
    assert shorter == pytest.approx(whole, rel=CELL)


# ---- sources


@pytest.fixture
def text(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("the quick brown fox jumps over the lazy dog. " * 4, encoding="utf-8")
    return file


def read(features, name):
    return np.asarray(features.columns[name][slice(None)])


def test_all_sources_of_the_same_tokens_give_the_same_rows(text, tmp_path):
    tokenizer = CharacterTokenizer(text)
    task = TextGenerationTask(tokenizer, 16, DecoderArch(**{**SIZES, "max_positions": 16}))
    expected = task.train_features(TextDataLoader(text, cache_dir=str(tmp_path / "cache")))
    ids = tokenizer.encode_batch([text.read_text()])[0].ids
    with IndexedWriter(tmp_path / "indexed", dtype="uint16") as writer:
        writer.add(ids)
    rows = read(expected, "labels")
    write_records(tmp_path / "rows.mindrecord", {"input_ids": rows})
    sources = (
        IndexedDataLoader(tmp_path / "indexed"),
        MindDataset(tmp_path / "rows.mindrecord"),
        {"input_ids": rows},
        [text.read_text()],
    )
    assert len(expected) == (len(ids) - 1) // 16
    for source in sources:
        features = task.train_features(source)
        for name in ("input_ids", "labels"):
            assert np.array_equal(read(features, name), read(expected, name)), source
    assert len(task.eval_features(IndexedDataLoader(tmp_path / "indexed")).features) == len(expected) + 1


def test_gpt2_tokens_of_real_text_are_those_of_its_lines(data_dir, tmp_path):
    folder = data_dir / "tokenizers" / "gpt2"
    tokenizer = GPT2Tokenizer(folder / "vocab.json", folder / "merges.txt")
    lines = (data_dir / "tinyshakespeare" / "input.txt").read_text().split("\n\n")[:50]
    (tmp_path / "a.txt").write_text("\n\n".join(lines))
    loader = TextDataLoader(tmp_path, documents="blank_line", cache_dir=str(tmp_path / "cache"))
    features = TextGenerationTask(tokenizer, 32).eval_features(loader).features
    labels = read(features, "labels")
    stream = [labels[0, 0], *labels[:, 1:][labels[:, 1:] >= 0]]
    assert tokenizer.decode(stream, skip_special_tokens=False) == "".join(f"{line}<|endoftext|>" for line in lines)


def test_a_block_longer_than_the_models_positions_is_refused(text):
    tokenizer, cache = CharacterTokenizer(text), str(text.parent / "cache")
    loader, longer = (TextDataLoader(text, cache_dir=cache, seq_length=length) for length in (None, 13))
    for length, source in ((13, loader), (8, longer), (13, [text.read_text()])):
        with pytest.raises(DataError, match=r"blocks of 13 tokens are longer than the model, which has 12 positions"):
            TextGenerationTask(tokenizer, length, DecoderArch(**SIZES)).train_features(source)
    rotary = DecoderArch(**SIZES, positions="rotary")
    assert TextGenerationTask(tokenizer, 13, rotary).train_features(loader).columns["labels"][0].shape == (14,)


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"input_ids": np.array([[0, 40, 41]])}, "row 0, place 2: labels has 41, outside"),
        ({"input_ids": np.array([[0, -1, 2]])}, "row 0, place 1: input_ids has -1, outside"),
    ],
)
def test_rows_with_tokens_outside_of_the_vocabulary_are_named(columns, reason):
    with pytest.raises(DataError, match=reason):
        TextGenerationTask(None, 2, DecoderArch(**SIZES)).train_features(columns)


def test_a_stream_with_tokens_outside_of_the_vocabulary_is_named(tmp_path):
    with IndexedWriter(tmp_path / "set") as writer:
        writer.add([1, 2, 41])
    with pytest.raises(DataError, match="token 41 at place 2 of document 0 is outside"):
        TextGenerationTask(None, 2, DecoderArch(**SIZES)).train_features(IndexedDataLoader(tmp_path / "set"))


def test_texts_of_a_users_own_need_a_tokenizer():
    with pytest.raises(DataError, match="text needs a tokenizer"):
        TextGenerationTask(None, 8).train_features(["some text"])


def test_prediction_continues_texts_a_batch_at_a_time():
    task, seen = TextGenerationTask(None), []

    def forward(texts):
        seen.append(texts)
        return [[f"{text}!", f"{text}?"] if text == "b" else f"{text}!" for text in texts]

    texts = [answer["text_generation_text"] for answer in task.predict(forward, ["a", "b", "c"], batch_size=2)]
    assert texts == [["a!"], ["b!", "b?"], ["c!"]] and seen == [["a", "b"], ["c"]]
    with pytest.raises(UsageError, match="num_return_sequences"):
        task.predict(forward, ["a"], top_k=2)


def test_lengths_come_from_the_configuration():
    config = check_file(CONFIGS / "gpt2" / "run_gpt2_tiny.yaml").run
    task = TextGenerationTask.from_config(config, None)
    assert (task.seq_length, task.arch.vocab_size, task.arch.max_positions) == (32, 128, 64)


def test_the_parallel_job_of_13_billion_has_the_published_sizes():
    config = check_file(CONFIGS / "gpt2" / "run_gpt2_13b.yaml").run
    sizes = config.parallel_config
    assert (sizes.data_parallel, sizes.model_parallel, sizes.pipeline_stage, sizes.micro_batch_num) == (4, 2, 4, 24)
    assert config.context.max_device_memory == "31GB" and config.recompute_config.recompute_slice_activation
    arch = config.model.model_config.options.arch("causal_lm")
    assert (arch.num_layers, arch.hidden_size, arch.num_heads) == (40, 5120, 40)
    larger = check_file(CONFIGS / "gpt2" / "run_gpt2_52b.yaml").run
    assert (larger.parallel_config.pipeline_stage, larger.parallel_config.micro_batch_num) == (16, 64)
