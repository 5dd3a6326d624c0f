"""Masked language modelling: from sources to rows, losses at masked places, scores and fillings."""

import dataclasses

import mindspore as ms
import numpy as np
import pytest
from mindspore import Tensor

from mindformers.arch.stacks import EncoderArch
from mindformers.catalog import REGISTRY, TASKS
from mindformers.config.check import check_file
from mindformers.data.indexed import IndexedDataLoader
from mindformers.data.loader import create_dataset
from mindformers.data.mask_lm import STORED
from mindformers.data.masked_text import MaskedTextDataLoader
from mindformers.data.pack import IGNORED
from mindformers.data.records import MindDataset, write_records
from mindformers.data.text_documents import TextDataLoader
from mindformers.errors import DataError, UnknownNameError, UsageError
from mindformers.evaluate.masked_lm import MaskedLMMetric, MaskedScores
from mindformers.models.encoder import EncoderModel
from mindformers.registry import MindFormerModuleType as Type
from mindformers.tasks.masked_language_modeling import MaskedLanguageModelingTask
from mindformers.tasks.task import forward_of
from mindformers.tokenizers.byte_level import GPT2Tokenizer, RobertaTokenizer
from mindformers.tokenizers.wordpiece import BertTokenizer
from tests.conftest import CONFIGS, ROOT
from tests.parity.tolerances import CELL
from tests.unit.tokenizer_vocabularies import write_byte_level

WORDS = ("the", "red", "fox", "dog", "runs", "sleeps", "here", ".", "##s")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
PAD, MASK = 0, 4
LINES = ("the red fox runs", "the dog sleeps here .", "the foxs runs", "red dogs here .")
TEXTS = ["\n".join(LINES[number % 4 :] + LINES[: number % 4]) for number in range(20)]
ARCH = EncoderArch(
    vocab_size=16,
    hidden_size=12,
    num_layers=1,
    num_heads=2,
    intermediate_size=16,
    max_positions=24,
    type_vocab_size=2,
    embedding_norm=True,
    pad_token_id=PAD,
    head="masked_lm",
)
PAIRED = dataclasses.replace(ARCH, head="pre_training", sentence_task="next_sentence")


@pytest.fixture(autouse=True)
def pynative():
    ms.set_context(mode=ms.PYNATIVE_MODE)
    yield
    ms.set_context(mode=ms.GRAPH_MODE)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    file = tmp_path_factory.mktemp("vocabulary") / "vocab.txt"
    file.write_text("".join(f"{word}\n" for word in (*SPECIAL, *WORDS)), encoding="utf-8")
    return BertTokenizer(file)


@pytest.fixture
def task(tokenizer):
    return MaskedLanguageModelingTask(tokenizer, 16, ARCH, seed=3)


@pytest.fixture
def paired(tokenizer):
    return MaskedLanguageModelingTask(tokenizer, 24, PAIRED, seed=3)


@pytest.fixture
def file(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text("\n\n".join(TEXTS), encoding="utf-8")
    return file


def batches(features, epoch=0, size=8):
    names = tuple(features.columns)
    pipeline = create_dataset(features, size, shuffle=False, seed=0, epochs_done=epoch)
    for batch in pipeline.create_tuple_iterator():
        yield dict(zip(names, (column.asnumpy() for column in batch)))


def test_every_name_of_the_task_is_the_same_task():
    for name in ("masked_language_modeling", "fill_mask", "MaskedLanguageModelingTrainer"):
        assert REGISTRY.resolve(Type.TRAINER, name) is MaskedLanguageModelingTask
        assert REGISTRY.canonical(Type.TRAINER, name) in TASKS


def test_the_file_of_r03_describes_pre_training_with_next_sentences():
    run = check_file(ROOT / "tests" / "unit" / "r03_files" / "bert.yaml").run
    task = MaskedLanguageModelingTask.from_config(run, None)
    assert (task.max_seq_len, task.sentence_task) == (128, "next_sentence")


@pytest.mark.parametrize(
    ("name", "length", "sentences"),
    [("roberta/run_roberta_base", 512, None), ("albert/run_albert_base_v2", 512, "sentence_order")],
)
def test_the_family_says_what_becomes_of_sentences(name, length, sentences):
    task = MaskedLanguageModelingTask.from_config(check_file(CONFIGS / f"{name}.yaml").run, None)
    assert (task.max_seq_len, task.sentence_task) == (length, sentences)


def test_training_masks_differ_between_epochs_and_seeds_and_those_of_evaluation_do_not(task, tokenizer):
    features = task.train_features(TEXTS)
    first, second = (next(batches(features, epoch)) for epoch in (0, 1))
    assert (first["masked_positions"] != second["masked_positions"]).any()
    assert (next(batches(features, 1))["input_ids"] == second["input_ids"]).all()
    other = MaskedLanguageModelingTask(tokenizer, 16, ARCH, seed=4)
    assert (next(batches(other.train_features(TEXTS)))["input_ids"] != first["input_ids"]).any()
    fixed, same = (next(batches(one.eval_features(TEXTS).features)) for one in (task, other))
    assert (fixed["labels"] != IGNORED).any()
    assert all((fixed[name] == same[name]).all() for name in fixed)


def test_a_path_a_loader_and_texts_give_the_same_rows(task, file):
    cache = str(file.parent / "cache")
    sources = (
        MaskedTextDataLoader(file, cache_dir=cache),
        TextDataLoader(file, cache_dir=cache, documents="blank_line"),
        TEXTS,
        [{"text": text} for text in TEXTS],
    )
    made = [next(batches(task.train_features(source))) for source in sources]
    assert all((other[name] == made[0][name]).all() for other in made[1:] for name in made[0])


def test_the_loader_says_how_long_rows_are_and_how_many_tokens_are_masked(task, file):
    loader = MaskedTextDataLoader(
        file, cache_dir=str(file.parent), seq_length=12, mask_probability=0.5, max_predictions_per_seq=3, num_samples=2
    )
    made = next(batches(task.train_features(loader), size=2))
    assert made["input_ids"].shape == (2, 12)
    assert (made["labels"] != IGNORED).sum(1).tolist() == [3, 3]


def test_pieces_of_a_word_go_together_when_they_are_asked_to(task, file, tokenizer):
    loader = MaskedTextDataLoader(file, cache_dir=str(file.parent), whole_words=True, mask_probability=0.4)
    features = task.train_features(loader)
    piece = tokenizer.convert_tokens_to_ids("##s")
    seen = 0
    for epoch in range(6):
        for batch in batches(features, epoch, size=1):
            ids = features.columns["input_ids"]
            for row, places, labels in zip(range(len(ids)), batch["masked_positions"], batch["labels"]):
                del row
                found = dict(zip(places[labels != IGNORED], labels[labels != IGNORED]))
                for place, label in found.items():
                    if label == piece and place > 1:
                        seen += 1
                        assert place - 1 in found
    assert seen


def test_a_model_with_a_sentence_head_gets_pairs_and_any_other_full_rows(task, paired):
    assert set(task.train_features(TEXTS).columns) == {"input_ids", "attention_mask", "labels", "masked_positions"}
    made = next(batches(paired.train_features(TEXTS)))
    assert set(made["sentence_labels"]) == {0, 1}
    assert made["token_type_ids"].max() == 1


def test_pairs_can_be_left_out(paired, file):
    loader = MaskedTextDataLoader(file, rows="full", cache_dir=str(file.parent))
    assert "sentence_labels" not in paired.train_features(loader).columns


def test_the_loss_at_masked_places_is_that_of_all_places():
    model = EncoderModel(PAIRED, seed=1)
    random = np.random.default_rng(2)
    ids = random.integers(5, 16, (3, 10)).astype(np.int32)
    places = np.stack([np.sort(random.permutation(10)[:4]) for _ in range(3)]).astype(np.int32)
    found = random.integers(0, 16, (3, 4)).astype(np.int32)
    found[1, 2:] = IGNORED
    everywhere = np.full(ids.shape, IGNORED, np.int32)
    np.put_along_axis(everywhere, places, found, 1)
    sentences = Tensor(np.array([1, IGNORED, 0], np.int32))
    here = model(
        Tensor(ids), labels=Tensor(found), masked_positions=Tensor(places), sentence_labels=sentences
    ).asnumpy()
    assert here == pytest.approx(model(Tensor(ids), labels=Tensor(everywhere), sentence_labels=sentences).asnumpy())
    parts = [model(Tensor(ids), labels=Tensor(everywhere)), model(Tensor(ids), sentence_labels=sentences)]
    assert here == pytest.approx(sum(float(part) for part in parts))
    some = model(Tensor(ids), masked_positions=Tensor(places))[0].asnumpy()
    all_ = model(Tensor(ids))[0].asnumpy()
    assert np.abs(some - np.take_along_axis(all_, places[..., None], 1)).max() < CELL


@pytest.mark.parametrize(
    ("head", "given"), [("token_classification", "masked_positions"), ("masked_lm", "sentence_labels")]
)
def test_a_model_refuses_targets_that_its_head_does_not_use(head, given):
    model = EncoderModel(dataclasses.replace(ARCH, head=head), seed=1)
    with pytest.raises(ValueError, match=given):
        model(Tensor(np.full((1, 4), 5, np.int32)), **{given: Tensor(np.zeros((1, 1), np.int32))})


def test_scores_weigh_every_masked_token_alike_and_leave_fillers_out(paired):
    model = EncoderModel(PAIRED, seed=1)
    data = paired.eval_features(TEXTS)
    metric, cell = paired.metric(data), paired.scored(model)
    assert isinstance(metric, MaskedLMMetric) and isinstance(cell, MaskedScores)
    losses, hits, rights = [], [], []
    names = tuple(data.features.columns)
    for *columns, rows in create_dataset(
        data.features, 8, shuffle=False, seed=0, with_rows=True
    ).create_tuple_iterator():
        batch = dict(zip(names, columns))
        metric.update(rows, *cell(**batch))
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")}
        logits, said = (item.asnumpy().astype(np.float64) for item in model(**inputs))
        for row, number in enumerate(rows.asnumpy()):
            labels = batch["labels"].asnumpy()[row]
            at = logits[row, batch["masked_positions"].asnumpy()[row][labels != IGNORED]]
            shares = np.exp(at) / np.exp(at).sum(1, keepdims=True)
            wanted = labels[labels != IGNORED]
            if number >= 0:
                losses += list(-np.log(shares[np.arange(len(wanted)), wanted]))
                hits += list(at.argmax(1) == wanted)
                rights.append(said[row].argmax() == batch["sentence_labels"].asnumpy()[row])
    assert len(data.features) % 8
    assert metric.eval() == pytest.approx(
        {
            "val_loss": np.mean(losses),
            "perplexity": np.exp(np.mean(losses)),
            "tokens": len(losses),
            "accuracy": np.mean(hits),
            "sentence_accuracy": np.mean(rights),
            "sentences": len(data.features),
        },
        rel=1e-5,
    )


def test_a_metric_says_what_it_takes():
    with pytest.raises(DataError, match="4 or 6 arrays, not 2"):
        MaskedLMMetric().update(np.zeros(1), np.zeros(1))
    with pytest.raises(DataError, match="no token"):
        MaskedLMMetric().eval()


class Parrot:
    """A model that gives token 6 + place at every masked place the largest logit, then 5."""

    def __init__(self):
        self.shapes = []

    def __call__(self, batch):
        self.shapes.append(batch["input_ids"].shape)
        logits = np.zeros((*batch["masked_positions"].shape, 16), np.float32)
        logits[..., 5] = 1.0
        np.put_along_axis(logits, (6 + batch["masked_positions"])[..., None], 2.0, -1)
        return logits, np.zeros((len(logits), 2))


def test_a_mask_is_filled_with_the_likeliest_tokens_and_several_masks_have_a_list_each(task):
    parrot = Parrot()
    one, two = task.predict(parrot, ["the [MASK] runs.", "[MASK] fox [MASK]"], top_k=2, batch_size=1)
    total = np.exp(2) + np.exp(1) + 12  # of 16 rows, the tokenizer has no use for the last two
    assert one == [
        {"score": round(np.exp(2) / total, 4), "token": 8, "token_str": "dog", "sequence": "the dog runs."},
        {"score": round(np.exp(1) / total, 4), "token": 5, "token_str": "the", "sequence": "the the runs."},
    ]
    assert [[item["sequence"] for item in fillings] for fillings in two] == [
        ["fox fox [MASK]", "the fox [MASK]"],
        ["[MASK] fox runs", "[MASK] fox the"],
    ]
    assert parrot.shapes == [(1, 16)] * 2


def test_a_real_model_fills_masks(task):
    model = EncoderModel(ARCH, seed=1)
    ((best, *others),) = task.predict(forward_of(model), ["the [MASK] runs"], top_k=14)
    assert best["score"] == max(item["score"] for item in others + [best])
    assert sum(item["score"] for item in others) + best["score"] == pytest.approx(1, abs=1e-3)
    assert len({item["token"] for item in others}) == 13


@pytest.mark.parametrize("text", ["the fox runs", "the fox " * 10 + "[MASK]"])
def test_a_text_without_mask_is_refused(task, text):
    with pytest.raises(DataError, match=r"has no \[MASK\] among its first 16 tokens"):
        task.predict(Parrot(), [text])


def test_byte_level_tokens_are_filled_with_their_spaces(tmp_path):
    write_byte_level(tmp_path)
    tokenizer = RobertaTokenizer(tmp_path / "vocab.json")
    task = MaskedLanguageModelingTask(tokenizer, 32)
    wanted = tokenizer.tokenize(" the")
    assert len(wanted) == 1
    token = tokenizer.convert_tokens_to_ids(wanted[0])

    def forward(batch):
        return np.eye(tokenizer.vocab_size)[np.full(batch["masked_positions"].shape, token)] * 9

    (((filling),),) = task.predict(forward, ["over <mask> dog"])
    assert (filling["token_str"], filling["sequence"]) == (" the", "over the dog")


@pytest.fixture
def records():
    random = np.random.default_rng(1)
    ids = random.integers(5, 14, (6, 12))
    return {
        "input_ids": ids,
        "input_mask": np.ones_like(ids),
        "segment_ids": np.zeros_like(ids),
        "next_sentence_labels": np.ones((6, 1), np.int32),
        "masked_lm_positions": np.tile([1, 4, 0], (6, 1)),
        "masked_lm_ids": np.tile([7, 8, 0], (6, 1)),
        "masked_lm_weights": np.tile([1, 1, 0], (6, 1)),
    }


def test_mindrecord_rows_of_berts_pre_training_need_no_tokenizer(records, tmp_path):
    write_records(tmp_path / "train.mindrecord", records)
    source = MindDataset(tmp_path / "train.mindrecord")
    full = MaskedLanguageModelingTask(None, 12, PAIRED).train_features(source)
    assert set(full.columns) == set(STORED.values())
    assert full.columns["labels"].tolist() == [[7, 8, IGNORED]] * 6
    plain = MaskedLanguageModelingTask(None, 12, ARCH).train_features(source)
    assert set(plain.columns) == set(STORED.values()) - {"sentence_labels"}
    assert next(batches(full, 0)).keys() == full.columns.keys()


def test_rows_that_were_written_without_masks_get_theirs_in_every_epoch(paired, tokenizer, tmp_path):
    text = paired.train_features(TEXTS)
    write_records(tmp_path / "train.mindrecord", text.columns)
    source = MindDataset(tmp_path / "train.mindrecord")
    for epoch in (0, 1):
        again, straight = next(batches(paired.train_features(source), epoch)), next(batches(text, epoch))
        assert again.keys() == straight.keys()
        assert all((again[name] == straight[name]).all() for name in again)
    plain = MaskedLanguageModelingTask(tokenizer, 24, ARCH).train_features(source)
    assert "sentence_labels" not in plain.columns and (next(batches(plain))["labels"] != IGNORED).any()


def test_a_row_says_what_is_to_be_found(paired):
    row = {name: column[0] for name, column in next(batches(paired.train_features(TEXTS))).items()}
    learned = paired.learned(row)
    wanted = row["labels"][row["labels"] != IGNORED]
    assert np.flatnonzero(learned).tolist() == row["masked_positions"][: len(wanted)].tolist()
    notes = paired.notes(row)
    assert notes["find"].split() == paired.tokenizer.convert_ids_to_tokens(wanted)
    assert notes["pair"] == ("belongs together", "does not belong together")[row["sentence_labels"]]


def test_records_of_another_vocabulary_are_refused(records):
    records["masked_lm_ids"][2, 1] = 16
    with pytest.raises(DataError, match="row 2, place 1: labels has 16, outside of the model's vocabulary of 16"):
        MaskedLanguageModelingTask(None, 12, ARCH).train_features(records)


def test_rows_longer_than_the_model_are_refused(task, tokenizer, file):
    with pytest.raises(DataError, match="rows of 25 tokens are longer than the model, which has 24"):
        task.train_features(MaskedTextDataLoader(file, seq_length=25, cache_dir=str(file.parent)))
    offset = dataclasses.replace(ARCH, padding_offsets_positions=True, pad_token_id=1)
    with pytest.raises(DataError, match="has 22 positions"):
        MaskedLanguageModelingTask(tokenizer, 23, offset).train_features(TEXTS)
    with pytest.raises(DataError, match="special tokens leave no room"):
        MaskedLanguageModelingTask(tokenizer, 4, ARCH).train_features(TEXTS)


def test_what_cannot_be_trained_is_said(task, tmp_path, file):
    with pytest.raises(UsageError, match="the model says nothing of two texts"):
        task.train_features(MaskedTextDataLoader(file, rows="pairs", cache_dir=str(tmp_path)))
    with pytest.raises(DataError, match="text needs a tokenizer"):
        MaskedLanguageModelingTask(None).train_features(TEXTS)
    write_byte_level(tmp_path, special=("<|endoftext|>",))
    without = GPT2Tokenizer(tmp_path / "vocab.json", pad_token="<|endoftext|>")
    with pytest.raises(UsageError, match="needs a mask_token"):
        MaskedLanguageModelingTask(without).train_features(TEXTS)
    with pytest.raises(UsageError, match="cannot read what IndexedDataLoader reads"):
        task.train_features(IndexedDataLoader(tmp_path / "tokens"))


def test_an_unknown_spelling_of_the_task_gets_the_nearest():
    with pytest.raises(UnknownNameError, match="fill_mask"):
        REGISTRY.canonical(Type.TRAINER, "fillmask")
