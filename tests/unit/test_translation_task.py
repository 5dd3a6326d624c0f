"""The translation task: features, scores, inputs, and what the sections of a configuration say together."""

import numpy as np
import pytest

from mindformers.config.check import check_file
from mindformers.config.source import from_dict
from mindformers.errors import DataError, UsageError
from mindformers.evaluate.translation import BLEU
from mindformers.tasks.translation import Lengths, TranslationTask
from mindformers.tokenizers.sentencepiece_models import T5Tokenizer
from tests.conftest import CONFIGS
from tests.unit.tokenizer_vocabularies import write_t5_model

PAIRS = [("the quick dog", "the lazy fox"), ("the dogs slept", "the words end"), ("text", "numbers")]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    file = tmp_path_factory.mktemp("vocabulary") / "spiece.model"
    write_t5_model(file)
    return T5Tokenizer(file)


def test_rows_are_the_prefixed_source_and_the_target_with_its_padding_ignored(tokenizer):
    features = TranslationTask(tokenizer, prefix="turn: ").train_features(PAIRS)
    ids, mask, labels = (features.columns[name] for name in ("input_ids", "attention_mask", "labels"))
    for row, (source, target) in enumerate(PAIRS):
        assert ids[row][mask[row] > 0].tolist() == tokenizer("turn: " + source)["input_ids"].tolist()
        assert labels[row][labels[row] != -100].tolist() == tokenizer(target)["input_ids"].tolist()
    assert (labels == -100).any() and features.fillers == {"labels": -100}


def test_rows_are_no_wider_than_the_texts_need(tokenizer):
    features = TranslationTask(tokenizer, Lengths(512, 128)).train_features(PAIRS)
    width = features.columns["input_ids"].shape[1]
    assert width % 8 == 0 and width - features.columns["attention_mask"].sum(axis=1).max() < 8


def test_longer_texts_are_cut_and_keep_their_end_token(tokenizer):
    features = TranslationTask(tokenizer, Lengths(4, 3)).train_features(PAIRS)
    assert features.columns["input_ids"].shape == (3, 4) and features.columns["labels"].shape == (3, 3)
    assert features.columns["input_ids"][0, 3] == features.columns["labels"][0, 2] == tokenizer.eos_token_id


def test_lengths_without_room_are_refused():
    with pytest.raises(UsageError, match="src_max_length=1"):
        Lengths(1, 5)


def test_scores_are_those_of_sacrebleu_whatever_the_order_of_batches():
    import sacrebleu

    references = ["the cat sat on the mat today", "a dog runs", "two men sit outside"]
    texts = ["the cat sat on the mat", "a dog runs", "two men stand outside"]
    metric = BLEU(references)
    metric.update(np.array([2, -1]), [texts[2], "filler"])
    metric.update(np.array([0, 1]), texts[:2])
    scores = metric.eval()
    assert scores["bleu"] == sacrebleu.corpus_bleu(texts, [references]).score
    assert scores["chrf"] == sacrebleu.corpus_chrf(texts, [references]).score
    assert (scores["scored"], scores["total"]) == (3, 3)
    metric.clear()
    with pytest.raises(DataError, match="no translation to score"):
        metric.eval()


class Upper:
    """A stand-in for a model."""

    def texts(self, sources):
        return [source.upper() for source in sources]


def test_predictions_come_in_order_whatever_the_batch(tokenizer):
    task = TranslationTask(tokenizer)
    found = task.predict(Upper(), ["a", {"text": "b"}, {"source": "c"}], batch_size=2)
    assert found == [{"translation_text": [text]} for text in "ABC"]


@pytest.mark.parametrize("item", ["", 3, {"text": ""}, {"other": "a"}, ["a"]])
def test_inputs_that_are_no_text_are_refused(tokenizer, item):
    with pytest.raises(DataError, match="cannot be read; accepted are a text"):
        TranslationTask(tokenizer).predict(Upper(), [item])


def test_a_configuration_says_lengths_prefix_languages_and_beams(tokenizer):
    run = check_file(CONFIGS / "t5" / "run_t5_small.yaml").run
    task = TranslationTask.from_config(run, tokenizer)
    assert task.lengths == Lengths(1024, 128) and task.prefix == "translate English to Romanian: "
    assert task.languages == ("source", "target") and task.search.num_beams == 4


def test_another_metric_is_refused(tokenizer):
    run = check_file(CONFIGS / "t5" / "run_t5_small.yaml", [from_dict({"metric": {"type": "EntityScore"}}, "test")]).run
    with pytest.raises(UsageError, match="metric.type is EntityScore; translation is scored by BLEU"):
        TranslationTask.from_config(run, tokenizer)
