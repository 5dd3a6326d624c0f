"""The text-classification task with the models of every family: training loss, scoring, prediction, padding."""

from __future__ import annotations

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from mindformers.data.loader import create_dataset
from mindformers.errors import UsageError
from mindformers.models.auto import AutoConfig
from mindformers.models.heads import SequenceClassifier
from mindformers.registry import load_object
from mindformers.tasks.task import forward_of
from mindformers.tasks.text_classification import TextClassificationTask
from mindformers.tokenizers.byte_level import GPT2Tokenizer
from mindformers.train.step import LossCell

ROWS = [{"text": f"it was {word}"} for word in ("lovely", "dull", "odd", "long", "short")]
FAMILIES = {
    "bert": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
    "roberta": {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32},
    "albert": {
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "embedding_size": 8,
    },
    "gpt2": {"n_embd": 16, "n_layer": 1, "n_head": 2, "pad_token_id": 50256},
}
FOLDERS = {"bert": "bert-base-uncased"}
CLASSES = {"bert": "Bert", "roberta": "Roberta", "albert": "Albert", "gpt2": "GPT2"}


@pytest.fixture()
def pynative():
    before = ms.get_context("mode")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=before)


def family(name, data_dir, **options):
    """Return tokenizer and a small text classifier of a family."""
    folder = data_dir / "tokenizers" / FOLDERS.get(name, name)
    tokenizers = load_object(
        {
            "bert": "mindformers.tokenizers.wordpiece:BertTokenizer",
            "roberta": "mindformers.tokenizers.byte_level:RobertaTokenizer",
            "albert": "mindformers.tokenizers.sentencepiece_models:AlbertTokenizer",
            "gpt2": "mindformers.tokenizers.byte_level:GPT2Tokenizer",
        }[name]
    )
    made = tokenizers.from_pretrained(folder, **({"pad_token": "<|endoftext|>"} if name == "gpt2" else {}))
    values = {"model_type": name, "vocab_size": made.vocab_size, **FAMILIES[name], **options}
    config = AutoConfig.from_hf(values)
    model = load_object(f"mindformers.models.{name}.model:{CLASSES[name]}ForSequenceClassification")(config, seed=1)
    return made, model


@pytest.mark.parametrize("num_labels", [1, 2])
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_trains_and_scores_whatever_fills_up_the_last_batch(name, num_labels, data_dir, pynative):
    tokenizer, model = family(name, data_dir, num_labels=num_labels)
    rows = [{**row, "label": index % 2, "text_pair": "they say"} for index, row in enumerate(ROWS)]
    task = TextClassificationTask(tokenizer, 12, num_labels=num_labels)
    features = task.train_features(rows)
    model.set_train(False)
    loss = LossCell(model, tuple(features.columns))

    def losses(batch_size):
        batches = create_dataset(features, batch_size, shuffle=False, seed=0).create_tuple_iterator(num_epochs=1)
        return [float(loss(*batch)) for batch in batches]

    # Rows 4 and a filler: the loss is that of row 4 alone.
    assert losses(2)[-1] == pytest.approx(losses(1)[-1], rel=1e-5)
    data = task.eval_features(rows)
    metric = task.metric(data)
    forward = forward_of(model)
    for batch in create_dataset(data.features, 2, shuffle=False, seed=0, with_rows=True).create_dict_iterator(
        num_epochs=1, output_numpy=True
    ):
        seen = batch.pop("row")
        metric.update(seen, forward({key: np.asarray(value) for key, value in batch.items()}))
    assert metric.eval()["scored"] == 5
    (answer,) = task.predict(forward, [("it was lovely", "they say")])
    assert answer[0]["label"] in ({"score"} if num_labels == 1 else {"0", "1"})


def test_a_decoder_reads_the_last_token_whatever_padding_follows(data_dir, pynative):
    tokenizer, model = family("gpt2", data_dir)
    forward = forward_of(model)
    outputs = [forward(dict(tokenizer(["it was lovely"], max_length=width, padding="max_length"))) for width in (6, 12)]
    np.testing.assert_allclose(outputs[0], outputs[1], atol=1e-5)


def test_a_tokenizer_without_padding_is_refused(data_dir):
    bare = GPT2Tokenizer.from_pretrained(data_dir / "tokenizers" / "gpt2")
    with pytest.raises(UsageError, match="needs a padding token, and this tokenizer has none; set tokenizer.pad_token"):
        TextClassificationTask(bare)


def test_a_label_that_is_no_number_does_not_count_in_a_regression(pynative):
    arch = load_object("mindformers.models.bert.config:BertConfig")(hidden_size=4, num_attention_heads=1, num_labels=1)
    head = SequenceClassifier(arch.arch("sequence_classification"))
    head.set_train(False)
    pooled = Tensor(np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32))

    def loss(labels):
        return float(head(None, pooled, None, None, Tensor(np.array(labels, np.float32)), None, None, None))

    logits = head(None, pooled, None, None, None, None, None, None).asnumpy()[:, 0]
    assert loss([1.0, 2.0, 3.0]) == pytest.approx(np.mean((logits - [1, 2, 3]) ** 2), rel=1e-5)
    assert loss([1.0, np.nan, 3.0]) == pytest.approx(np.mean((logits[[0, 2]] - [1, 3]) ** 2), rel=1e-5)
    assert loss([np.nan] * 3) == 0
