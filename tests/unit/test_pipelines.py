"""`pipeline(task, model)`: the form of the answers of every task that reads text, batches, streams, refusals."""

import json

import numpy as np
import pytest

import mindformers
from mindformers import pipeline
from mindformers.errors import DataError, UnknownNameError, UsageError
from mindformers.models.bert import BertConfig, BertForQuestionAnswering, BertForSequenceClassification
from mindformers.models.gpt2 import GPT2Config, GPT2LMHeadModel
from mindformers.tokenizers.wordpiece import BertTokenizer

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "sat", "where", "on", "mat"]
BERT = {"vocab_size": 16, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}


class Characters:
    """A token is the number of an ASCII character."""

    def __call__(self, text):
        return {"input_ids": np.array([ord(letter) for letter in text], np.int32)}

    def decode(self, ids):
        return "".join(chr(index) for index in ids)


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    file = tmp_path_factory.mktemp("words") / "vocab.txt"
    file.write_text("\n".join(WORDS) + "\n")
    return BertTokenizer(file)


@pytest.fixture(scope="module")
def writer():
    config = GPT2Config(vocab_size=128, n_positions=32, n_embd=16, n_layer=1, n_head=2, eos_token_id=None)
    model = GPT2LMHeadModel(config, seed=2)
    return pipeline("text_generation", model, tokenizer=Characters(), batch_size=2, max_new_tokens=3)


def test_the_name_is_the_function_however_often_it_is_imported():
    assert mindformers.pipeline is pipeline and callable(pipeline)


def test_texts_are_continued_in_batches_with_their_prompt(writer):
    answers = writer(["ab", "cde", "f"])
    assert [list(answer) for answer in answers] == [["text_generation_text"]] * 3
    texts = [answer["text_generation_text"] for answer in answers]
    assert [(len(item), item[0][:-3]) for item in texts] == [(1, "ab"), (1, "cde"), (1, "f")]
    assert writer("ab") == answers[:1]


def test_a_text_comes_in_pieces(writer):
    assert "".join(writer.stream("ab")) == writer("ab")[0]["text_generation_text"][0]


def test_an_input_that_is_no_text_is_refused(writer):
    with pytest.raises(DataError, match="give a text to continue"):
        writer([5])


def test_questions_are_answered_in_the_tasks_form(words):
    model = BertForQuestionAnswering(BertConfig(**BERT, max_position_embeddings=24))
    answers = pipeline("question_answering", model, tokenizer=words, doc_stride=4, max_question_len=8)(
        "the cat sat on the mat - where the cat"
    )
    assert [sorted(answer) for answer in answers] == [["end", "score", "start", "text"]]


def test_classes_have_the_names_beside_the_weights(words, tmp_path):
    folder = tmp_path / "model"
    model = BertForSequenceClassification(BertConfig(**BERT, max_position_embeddings=24, num_labels=2), seed=1)
    model.save_pretrained(folder)
    words.save_pretrained(folder)
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "id2label": {"0": "good", "1": "bad"}}))
    [answers] = pipeline("text_classification", str(folder))("the cat", top_k=2)
    assert {answer["label"] for answer in answers} == {"good", "bad"}
    assert sum(answer["score"] for answer in answers) == pytest.approx(1.0, abs=1e-3)


def test_what_a_pipeline_cannot_do_is_said_at_once(words, writer):
    model = BertForQuestionAnswering(BertConfig(**BERT))
    with pytest.raises(UnknownNameError, match="max_seq_len"):
        pipeline("question_answering", model, tokenizer=words, max_seq=8)
    with pytest.raises(UnknownNameError, match="question_answering"):
        pipeline("question_answer", model, tokenizer=words)
    with pytest.raises(UsageError, match="no tokenizer lies beside the weights"):
        pipeline("question_answering", model)
    with pytest.raises(UsageError, match="leave image_processor"):
        pipeline("question_answering", model, tokenizer=words, image_processor=object())
    with pytest.raises(UsageError, match="has no predictions of its own"):
        pipeline("general", model, tokenizer=words)
    with pytest.raises(UsageError, match="can be streamed"):
        pipeline("question_answering", model, tokenizer=words, doc_stride=4, max_question_len=8).stream("a - b")
    with pytest.raises(UnknownNameError, match="max_new_tokens"):
        pipeline("text_generation", writer.model, tokenizer=Characters(), max_new_token=1)


@pytest.mark.parametrize("setting", [{"return_output_log_probs": True}, {"stream": True}, {"detokenize": False}])
def test_settings_whose_answers_are_no_texts_are_refused_when_the_pipeline_is_built(writer, setting):
    with pytest.raises(UsageError, match=rf"{next(iter(setting))}(?s:.*)Pipeline\.stream(?s:.*)model\.generate"):
        pipeline("text_generation", writer.model, tokenizer=Characters(), **setting)


def test_a_seed_of_a_pipeline_is_that_of_its_draws(writer):
    options = {"do_sample": True, "top_k": 0, "temperature": 3.0, "max_new_tokens": 3}
    drawn = [pipeline("text_generation", writer.model, Characters(), seed=seed, **options)("ab") for seed in (1, 1, 2)]
    assert drawn[0] == drawn[1] != drawn[2]
