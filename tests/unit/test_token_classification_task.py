"""The token-classification task: features, cache, labels of data and weights, input forms, predictions."""

import importlib
import json

import mindspore as ms
import numpy as np
import pytest

from mindformers.config.check import check_file
from mindformers.config.source import from_dict
from mindformers.data.entities import CLUENERDataLoader, CoNLLDataLoader
from mindformers.data.loader import gather
from mindformers.data.tags import LabelSet
from mindformers.errors import CheckpointError, DataError, UsageError
from mindformers.tasks.task import forward_of
from mindformers.tasks.token_classification import TokenClassificationTask
from mindformers.tokenizers.byte_level import GPT2Tokenizer, RobertaTokenizer
from mindformers.tokenizers.sentencepiece_models import AlbertTokenizer
from mindformers.tokenizers.wordpiece import BertTokenizer
from mindformers.train.step import LossCell
from mindformers.trainer import Trainer
from mindformers.weights.labels import read_labels, write_labels
from tests.conftest import CONFIGS, ROOT

CLUENER = CLUENERDataLoader("").label_set()
TEXT = "今天 温格的球队 VS 曼联，ACME!"
ROW = {"text": "温格的球队", "label": {"name": {"温格": [[0, 1]]}}}


@pytest.fixture(scope="module")
def tokenizer(data_dir):
    return BertTokenizer(data_dir / "tokenizers" / "bert-base-chinese" / "vocab.txt")


@pytest.fixture
def task(tokenizer):
    return TokenClassificationTask(tokenizer, CLUENER, 31, max_seq_len=32)


def cluener_folder(folder, count=5):
    lines = "".join(json.dumps(ROW, ensure_ascii=False) + "\n" for _ in range(count))
    for stage in ("train", "dev"):
        (folder / f"{stage}.json").write_text(lines, encoding="utf-8")
    return folder


def column_folder(folder):
    for stage in ("train", "dev"):
        (folder / f"{stage}.txt").write_text("Li B-PER\nruns O\n\nBerlin B-LOC\n", encoding="utf-8")
    return folder


class Tagging:
    """A stand-in for a model: the tokens of a text have given tags, wherever they stand; everything else is O."""

    def __init__(self, tokenizer, labels, **tags):
        self.labels = labels
        self.tags = {int(tokenizer.convert_tokens_to_ids(token)): tag for token, tag in tags.items()}
        self.shapes = set()

    def __call__(self, batch):
        ids = batch["input_ids"]
        self.shapes.add(ids.shape)
        chosen = np.zeros(ids.shape, int)
        for token, tag in self.tags.items():
            chosen[ids == token] = self.labels.labels.index(tag)
        # Every other label gets the same: the chosen one has probability e^5 / (e^5 + 30).
        return 5 * np.eye(len(self.labels.labels), dtype=np.float32)[chosen]


SCORE = round(np.exp(5) / (np.exp(5) + 30), 4)


def test_train_features_have_the_columns_of_the_loss_and_its_ignored_value(task, tmp_path):
    features = task.train_features(cluener_folder(tmp_path))
    assert list(features.columns) == ["input_ids", "attention_mask", "token_type_ids", "labels"]
    assert features.fillers == {"labels": -100}
    assert {array.dtype for array in features.columns.values()} == {np.dtype(np.int32)}
    tags = [CLUENER.labels[number] for number in features.columns["labels"][0, 1:6]]
    assert tags == ["B-name", "I-name", "O", "O", "O"]
    assert len(task.train_features(CLUENERDataLoader(tmp_path, num_samples=2))) == 2


def test_evaluation_features_carry_no_labels_into_the_model(task, tmp_path):
    data = task.eval_features(cluener_folder(tmp_path))
    assert list(data.features.columns) == ["input_ids", "attention_mask", "token_type_ids"]
    metric = task.metric(data)
    metric.update(np.arange(5), np.eye(31)[np.where(data.rows.labels < 0, 0, data.rows.labels)])
    assert metric.result()["f1"] == 1.0


def test_features_are_read_from_the_cache_and_equal(tokenizer, tmp_path, monkeypatch):
    task = TokenClassificationTask(tokenizer, CLUENER, max_seq_len=32, cache_dir=tmp_path / "cache")
    first = task.train_features(cluener_folder(tmp_path))
    monkeypatch.setattr("mindformers.tasks.token_classification.build_features", None)
    again = task.train_features(tmp_path)
    for name, column in first.columns.items():
        assert np.array_equal(column, again.columns[name]) and column.dtype == again.columns[name].dtype


@pytest.mark.parametrize("change", ["data", "length", "pieces", "labels", "tokenizer", "num_samples"])
def test_a_cache_is_not_used_after_anything_changed(tokenizer, tmp_path, change):
    folder, cache = cluener_folder(tmp_path), tmp_path / "cache"
    settings = {"labels": CLUENER, "max_seq_len": 32, "label_pieces": "all"}
    TokenClassificationTask(tokenizer, **settings, cache_dir=cache).train_features(folder)
    samples = None
    if change == "data":
        cluener_folder(tmp_path, count=6)
    elif change == "length":
        settings["max_seq_len"] = 33
    elif change == "pieces":
        settings["label_pieces"] = "first"
    elif change == "labels":
        settings["labels"] = LabelSet(CLUENER.labels[::-1], CLUENER.scheme)
    elif change == "tokenizer":
        tokenizer.save_pretrained(tmp_path / "tok")
        tokenizer = BertTokenizer(tmp_path / "tok" / "vocab.txt", do_lower_case=False)
    else:
        samples = 3
    task = TokenClassificationTask(tokenizer, **settings, cache_dir=cache)
    source = CLUENERDataLoader(folder, num_samples=samples)
    # Labels in another order are another set; a reader's own come only where nobody else gives any.
    task.train_features(source)
    assert len(list(cache.iterdir())) == 2


# ---- labels


def test_labels_come_from_the_training_data_and_are_kept_beside_the_weights(tokenizer, tmp_path):
    task = TokenClassificationTask(tokenizer, num_labels=5, max_seq_len=16)
    task.train_features(CoNLLDataLoader(column_folder(tmp_path)))
    assert task.labels.labels == ("O", "B-LOC", "B-PER", "I-LOC", "I-PER")
    task.save_labels(tmp_path)
    later = TokenClassificationTask(tokenizer, num_labels=5, max_seq_len=16)
    later.adopt_labels(read_labels(tmp_path))
    assert later.labels == task.labels
    assert len(later.eval_features(CoNLLDataLoader(tmp_path, "dev")).records) == 2


def test_the_order_of_the_weights_outputs_counts_also_in_finetuning(tokenizer, tmp_path):
    theirs = ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
    for new_head in (False, True):
        task = TokenClassificationTask(tokenizer, new_head=new_head, max_seq_len=16)
        task.adopt_labels(theirs)
        task.train_features(CoNLLDataLoader(column_folder(tmp_path)))
        assert task.labels.labels == theirs
    permuted = TokenClassificationTask(tokenizer, CLUENER, max_seq_len=16)
    permuted.adopt_labels(CLUENER.labels[::-1])
    assert permuted.labels.labels == CLUENER.labels[::-1]


def test_a_head_that_is_trained_anew_gets_the_labels_of_the_data(tokenizer, tmp_path):
    task = TokenClassificationTask(tokenizer, new_head=True, max_seq_len=16)
    task.adopt_labels(("O", "B-x", "I-x"))
    task.train_features(CoNLLDataLoader(column_folder(tmp_path)))
    assert task.labels.types == ("LOC", "PER")
    whole = TokenClassificationTask(tokenizer, CLUENER, new_head=True, max_seq_len=16)
    whole.adopt_labels(("negative", "positive"))
    assert whole.labels == CLUENER


def test_weights_that_tell_other_labels_apart_cannot_score_the_data(tokenizer, tmp_path):
    task = TokenClassificationTask(tokenizer, CLUENER, max_seq_len=16)
    task.adopt_labels(("O", "B-x", "I-x"))
    with pytest.raises(DataError, match="model's outputs are the labels O, B-x, I-x, but the data has O, B-address"):
        task.eval_features(CLUENERDataLoader(cluener_folder(tmp_path), "dev"))
    with pytest.raises(DataError, match="the labels beside the weights: 'negative' is no tag"):
        task.adopt_labels(("negative", "positive"))


def test_labels_that_nobody_knows_are_asked_for(tokenizer, tmp_path):
    task = TokenClassificationTask(tokenizer)
    said = "which output stands for which tag is not known: there is no labels.json beside the weights"
    with pytest.raises(DataError, match=said):
        task.predict(None, ["text"])
    with pytest.raises(DataError, match=said):
        task.eval_features(CoNLLDataLoader(column_folder(tmp_path), "dev"))


def test_a_model_with_another_number_of_outputs_is_told_both_numbers(tokenizer, tmp_path):
    task = TokenClassificationTask(tokenizer, CLUENER, num_labels=2)
    said = "model.model_config.num_labels is 2, but there are 31 labels: O, B-address, .*; set num_labels to 31"
    for act in (
        lambda: task.train_features(cluener_folder(tmp_path)),
        lambda: task.eval_features(tmp_path),
        lambda: task.predict(None, ["text"]),
    ):
        with pytest.raises(UsageError, match=said):
            act()


def test_labels_beside_weights_are_read_from_a_run_and_from_hugging_face(tmp_path):
    assert read_labels(tmp_path) is None
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"1": "B-x", "0": "O"}}))
    assert read_labels(tmp_path / "model.safetensors") == ("O", "B-x")
    (tmp_path / "config.json").write_text(json.dumps({"id2label": {"0": "LABEL_0", "1": "LABEL_1"}}))
    assert read_labels(tmp_path) is None
    write_labels(tmp_path, ["O", "B-人"])
    assert read_labels(tmp_path) == ("O", "B-人")
    for broken, said in (('{"id2label": {"1": "O"}}', "must number different labels from 0 on"), ("[", "not readable")):
        (tmp_path / "labels.json").write_text(broken)
        with pytest.raises(CheckpointError, match=said):
            read_labels(tmp_path)


# ---- configuration


@pytest.mark.parametrize(
    "file", [CONFIGS / "tokcls" / "run_tokcls_bert_base_chinese.yaml", ROOT / "tests/unit/r03_files/tokcls.yaml"]
)
def test_the_published_setting_is_that_of_r03(file, tokenizer):
    run = check_file(file).run
    arch = run.model.model_config.options.arch("token_classification")
    assert (arch.hidden_size, arch.num_layers, arch.num_heads, arch.intermediate_size) == (768, 12, 12, 3072)
    assert (arch.vocab_size, arch.num_labels, run.model.arch.type) == (21128, 31, "BertForTokenClassification")
    assert (run.runner_config.epochs, run.runner_config.batch_size, run.seed) == (3, 24, 42)
    schedule = run.lr_schedule
    assert (schedule.type, schedule.options.learning_rate, schedule.options.warmup_ratio) == ("linear", 3e-5, 0.1)
    assert (run.optimizer.type, run.optimizer.options.weight_decay, run.optimizer.options.eps) == ("adamw", 0.01, 1e-8)
    assert run.runner_wrapper.type == "TrainOneStepCell" and not run.runner_wrapper.options.use_clip_grad
    assert run.callbacks[1].options.save_checkpoint_steps == 100
    assert run.train_dataset.drop_remainder and run.train_dataset.seed == 2022
    assert run.train_dataset.tokenizer.options.do_lower_case is False
    task = TokenClassificationTask.from_config(run, tokenizer)
    assert (task.labels, task.num_labels, task.settings.max_seq_len) == (CLUENER, 31, 128)
    assert (task.settings.label_pieces, task.mode) == ("all", "default")


def test_a_configuration_without_tokenizer_says_what_is_missing():
    run = check_file(CONFIGS / "tokcls" / "run_tokcls_bert_tiny.yaml").run
    with pytest.raises(DataError, match="token classification needs a tokenizer"):
        TokenClassificationTask.from_config(run, None)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"metric": {"type": "Accuracy"}}, "metric.type is Accuracy; token classification is scored by EntityScore"),
        (
            {"eval_dataset": {"data_loader": {"type": "SQuADDataLoader"}}},
            "eval_dataset.data_loader.type is SQuADDataLoader; token classification reads CLUENERDataLoader, CoNLL",
        ),
        (
            {
                "train_dataset": {"data_loader": {"max_seq_len": 8}},
                "eval_dataset": {"data_loader": {"max_seq_len": 9}},
            },
            "data_loader.max_seq_len is 8 in train_dataset and 9 in eval_dataset; give one",
        ),
    ],
)
def test_sections_that_do_not_fit_together_are_named(changes, message, tokenizer):
    run = check_file(CONFIGS / "tokcls" / "run_tokcls_bert_tiny.yaml", [from_dict(changes, "test")]).run
    with pytest.raises(UsageError, match=message):
        TokenClassificationTask.from_config(run, tokenizer)


def test_what_one_section_says_of_rows_holds_for_both(tokenizer):
    said = {
        "eval_dataset": {"data_loader": {"max_seq_len": 9, "labels": ["O", "B-x", "I-x"]}},
        "metric": {"mode": "strict"},
    }
    run = check_file(CONFIGS / "tokcls" / "run_tokcls_bert_tiny.yaml", [from_dict(said, "test")]).run
    task = TokenClassificationTask.from_config(run, tokenizer)
    assert (task.settings.max_seq_len, task.labels.types, task.mode) == (9, ("x",), "strict")


def test_trainer_starts_from_the_published_setting():
    trainer = Trainer(task="token_classification")
    assert trainer._checked("finetune").run.trainer.model_name == "tokcls_bert_base_chinese"


def wordpiece(folder):
    return BertTokenizer(folder / "vocab.txt")


def roberta(folder):
    return RobertaTokenizer(folder / "vocab.json", add_prefix_space=True)


def albert(folder):
    return AlbertTokenizer(folder / "spiece.model")


def gpt2(folder):
    return GPT2Tokenizer(folder / "vocab.json", pad_token="<|endoftext|>")


SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
DECODER_SIZES = {"n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 20}


@pytest.mark.parametrize(
    "family, model, sizes, build",
    [
        ("bert", "BertForTokenClassification", SIZES, wordpiece),
        ("roberta", "RobertaForTokenClassification", {**SIZES, "max_position_embeddings": 20}, roberta),
        ("albert", "AlbertForTokenClassification", {**SIZES, "embedding_size": 8}, albert),
        ("gpt2", "GPT2ForTokenClassification", DECODER_SIZES, gpt2),
    ],
    ids=["bert", "roberta", "albert", "gpt2"],
)
def test_models_of_every_family_take_the_rows_and_are_scored(family, model, sizes, build, data_dir):
    folder = {"bert": "bert-base-uncased"}.get(family, family)
    made = build(data_dir / "tokenizers" / folder)
    package = importlib.import_module(f"mindformers.models.{family}")
    ms.set_context(mode=ms.PYNATIVE_MODE)
    config = getattr(package, model.replace("ForTokenClassification", "Config"))
    cell = getattr(package, model)(config(vocab_size=made.vocab_size, num_labels=5, **sizes))
    rows = [{"tokens": ["Li", "lives", "in", "Berlin"], "tags": ["B-PER", "O", "O", "B-LOC"]}] * 3
    task = TokenClassificationTask(made, num_labels=5, max_seq_len=16, label_pieces="first")
    features = task.train_features(rows)
    loss = LossCell(cell, tuple(features.columns))
    cell.set_train(True)
    batch = [ms.Tensor(column) for column in gather(features, np.array([0, 1, 2, -1]))]
    assert 0.5 < float(loss(*batch).asnumpy()) < 4
    scores = task.metric(task.eval_features(rows))
    forward = forward_of(cell)
    scores.update(np.arange(3), forward(task.eval_features(rows).features.columns))
    assert scores.result()["scored"] == 3
    (found,) = task.predict(forward, ["Li lives in Berlin"], batch_size=2)
    assert all(set(item) == {"entity_group", "start", "end", "score", "word"} for item in found)


# ---- prediction


def test_entities_have_type_place_score_and_word_of_the_text_as_given(task, tokenizer):
    forward = Tagging(tokenizer, CLUENER, 温="B-name", 格="I-name", 曼="B-organization", 联="I-organization")
    assert task.predict(forward, [TEXT, "没有"]) == [
        [
            {"entity_group": "name", "start": 3, "end": 5, "score": SCORE, "word": "温格"},
            {"entity_group": "organization", "start": 12, "end": 14, "score": SCORE, "word": "曼联"},
        ],
        [],
    ]
    assert task.predict(forward, TEXT) == task.predict(forward, [{"text": TEXT}]) == task.predict(forward, [TEXT])


def test_the_score_is_the_mean_probability_of_the_tags_of_the_entity(task, tokenizer):
    plain = Tagging(tokenizer, CLUENER, 温="B-name", 格="I-name")

    def forward(batch):
        logits = plain(batch)
        logits[batch["input_ids"] == tokenizer.convert_tokens_to_ids("格")] *= 0.5
        return logits

    weaker = np.exp(2.5) / (np.exp(2.5) + 30)
    (found,) = task.predict(forward, ["温格"])
    assert found[0]["score"] == round((np.exp(5) / (np.exp(5) + 30) + weaker) / 2, 4)


def test_pieces_of_a_word_belong_to_one_entity_where_the_first_one_decides(tokenizer):
    pieces = tokenizer.tokenize("acme")
    assert len(pieces) > 1  # else this test shows nothing
    task = TokenClassificationTask(tokenizer, CLUENER, max_seq_len=32, label_pieces="first")
    (found,) = task.predict(Tagging(tokenizer, CLUENER, **{pieces[0]: "S-company"}), [TEXT])
    assert [(item["word"], item["start"]) for item in found] == [("ACME", 15)]


def test_a_text_of_any_length_goes_through_one_shape_and_keeps_its_entities(task, tokenizer):
    text = "的" * 29 + "温格" + "的" * 60 + "温格"
    forward = Tagging(tokenizer, CLUENER, 温="B-name", 格="I-name")
    (found, short) = task.predict(forward, [text, "温格"], batch_size=3)
    assert [(item["start"], item["end"]) for item in found] == [(29, 31), (91, 93)]
    assert len(short) == 1
    assert forward.shapes == {(3, 32)}


def test_a_text_without_a_token_has_no_entity(task, tokenizer):
    assert task.predict(Tagging(tokenizer, CLUENER), ["\u200d"]) == [[]]


def test_no_items_give_no_answers_and_odd_numbers_are_refused(task, tokenizer):
    forward = Tagging(tokenizer, CLUENER)
    assert task.predict(forward, []) == []
    with pytest.raises(UsageError, match="top_k=2, batch_size=1: a text has one list of entities, so top_k must be 1"):
        task.predict(forward, ["text"], top_k=2)
    with pytest.raises(UsageError, match="batch_size=0"):
        task.predict(forward, ["text"], batch_size=0)


@pytest.mark.parametrize(
    "item, message",
    [
        (7, "input 7 cannot be read; accepted are a text, and an object {'text': ...}"),
        ({"context": "text"}, "cannot be read; accepted are"),
        ({"text": None}, "cannot be read; accepted are"),
        (" \n", r"input ' \\n': the text is empty"),
    ],
)
def test_an_input_that_cannot_be_read_is_refused_with_the_accepted_forms(task, item, message):
    with pytest.raises(DataError, match=message):
        task.parse(item)
