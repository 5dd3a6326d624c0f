"""`model.generate` on a tiny decoder: forms of inputs and outputs, limits, streams, seeds, graphs."""

import logging

import numpy as np
import pytest
from mindspore import Tensor

from mindformers.errors import UsageError
from mindformers.generation.generate import generate
from mindformers.generation.sessions import MOST_IDLE, Graphs, bucket, graph_count
from mindformers.generation.settings import GenerationConfig
from mindformers.models.gpt2 import GPT2Config, GPT2LMHeadModel, GPT2Model
from mindformers.models.llama import LlamaConfig, LlamaForCausalLM
from mindformers.models.t5 import T5Config, T5ForConditionalGeneration

SIZES = {"vocab_size": 128, "n_positions": 40, "n_embd": 16, "n_layer": 1, "n_head": 2}


class Characters:
    """A token is the number of an ASCII character."""

    def __call__(self, text):
        return {"input_ids": np.array([ord(letter) for letter in text], np.int32)}

    def decode(self, ids):
        return "".join(chr(index) for index in ids)


class Refusing(Characters):
    """Cannot give the text of an answer."""

    def decode(self, ids):
        raise UsageError("this text never ends")


class Unused:
    """Stands for a cell."""

    def __init__(self, model, size):
        self.size = size


@pytest.fixture(scope="module")
def model():
    """One model for all tests, so that graphs are compiled once."""
    made = GPT2LMHeadModel(GPT2Config(**SIZES, eos_token_id=None, bos_token_id=65, initializer_range=0.3), seed=4)
    made.generation_tokenizer = Characters()
    return made


def test_a_text_gives_a_text_and_a_list_a_list(model):
    one = model.generate("abc", max_new_tokens=5)
    assert isinstance(one, str) and len(one) == 5
    assert model.generate(["abc", "x"], max_new_tokens=5)[0] == one


def test_the_prompt_is_part_of_the_output_when_asked(model):
    assert model.generate("abc", max_new_tokens=5, include_input=True) == "abc" + model.generate(
        "abc", max_new_tokens=5
    )
    ids = model.generate([97, 98], max_new_tokens=3, include_input=True, detokenize=False)
    assert ids[:2].tolist() == [97, 98] and len(ids) == 5


def test_ids_in_every_form_are_read_alike(model):
    expected = model.generate([97, 98, 99], max_new_tokens=4, detokenize=False)
    matrix, mask = np.array([[0, 97, 98, 99], [97, 98, 99, 0]]), np.array([[0, 1, 1, 1], [1, 1, 1, 0]])
    for form in (matrix, Tensor(matrix), matrix.tolist()):
        found = model.generate(form, attention_mask=mask, max_new_tokens=4, detokenize=False)
        assert found.tolist() == [expected.tolist()] * 2
    assert model.generate(np.array([97, 98, 99]), max_new_tokens=4, detokenize=False).tolist() == expected.tolist()


def test_an_empty_text_stands_for_the_first_token(model):
    assert model.generate("", max_new_tokens=4) == model.generate([65], max_new_tokens=4)


def test_a_row_does_not_depend_on_its_neighbours(model):
    rows = model.generate(["a", "bcdefgh", "xyz"], max_new_tokens=6)
    assert rows == [model.generate(text, max_new_tokens=6) for text in ("a", "bcdefgh", "xyz")]


def test_max_length_counts_the_prompt_of_each_row(model):
    assert [len(text) for text in model.generate(["abc", "a"], max_length=8)] == [5, 7]


def test_max_length_is_cut_to_the_model(model):
    assert len(model.generate("abc", max_length=100)) == 37


@pytest.mark.parametrize(
    ("inputs", "options", "said"),
    [
        ("a" * 40, {}, "prompt 0 has 40 tokens, and the model reads and writes 40"),
        ("a" * 30, {"max_new_tokens": 11}, "at most 10"),
        ("abc", {"max_length": 3}, "raise max_length"),
        ([1, 128], {}, "the id 128; the model has the ids 0 to 127"),
        ([[1], [-1]], {}, "prompt 1 holds the id -1"),
        ([0.5], {}, "no whole numbers"),
        ([], {}, "give a text"),
        ([[[1]]], {}, "nested too deep"),
        ([1, 2], {"attention_mask": [1, 1, 1]}, "a number for every id"),
        ("ab", {"attention_mask": [[1, 1]]}, "belongs to ids"),
        ("ab", {"top_p": 2.0}, "top_p=2.0"),
        ("ab", {"input_ids": [1]}, "from inputs or from input_ids"),
        (None, {}, "from inputs or from input_ids"),
        ("ab", {"streamer": print}, "set stream=True"),
        ("ab", {"eos_token_id": 128}, "has the ids 0 to 127, so 128 cannot end"),
        ("ab", {"eos_token_id": [1, -1]}, "so -1 cannot end"),
        ([1], {"stream": True, "include_input": True, "detokenize": False}, "leave include_input out"),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_runs(model, inputs, options, said):
    with pytest.raises(UsageError, match=said):
        generate(model, inputs, **options)


def test_an_end_token_of_the_configuration_counts_only_where_it_is_needed(model):
    settings = GenerationConfig(eos_token_id=50256, max_new_tokens=2)
    assert len(model.generate("ab", settings=settings)) == 2
    with pytest.raises(UsageError, match="50256 cannot end a text"):
        model.generate("ab", settings=settings, min_new_tokens=1)


def test_prompts_may_be_named_input_ids(model):
    options = {"max_new_tokens": 4, "detokenize": False}
    found = model.generate(input_ids=[[97, 98]], attention_mask=[[1, 1]], **options)
    assert found.tolist() == generate(model, [[97, 98]], **options).tolist()


def test_texts_beyond_rotary_positions_are_written_and_warned_of_once(caplog):
    sizes = {"vocab_size": 128, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(**sizes, intermediate_size=16, max_position_embeddings=8, eos_token_id=None)
    llama = LlamaForCausalLM(config, seed=1)
    with caplog.at_level(logging.WARNING, logger="mindformers"):
        logging.getLogger("mindformers").propagate = True
        llama.generate([1] * 5, max_new_tokens=3)
        assert not caplog.records
        for _ in range(2):
            assert len(llama.generate([1] * 5, max_new_tokens=4)) == 4
    assert ["9 tokens together; the model was made for 8" in record.message for record in caplog.records] == [True]


def test_an_empty_text_without_a_first_token_is_refused(model):
    with pytest.raises(UsageError, match="no bos_token_id"):
        model.generate("", bos_token_id=None)


def test_a_model_without_a_head_for_tokens_is_refused():
    with pytest.raises(UsageError, match="GPT2Model cannot write text"):
        GPT2Model(GPT2Config(**SIZES)).generate([1])


def test_a_text_without_a_tokenizer_is_refused(model, monkeypatch):
    monkeypatch.setattr(model, "generation_tokenizer", None)
    with pytest.raises(UsageError, match="give tokenizer="):
        model.generate("abc")
    assert model.generate([1], max_new_tokens=2).shape == (2,)


def test_a_stream_is_the_text_in_pieces(model):
    pieces = list(model.generate("abc", max_new_tokens=6, stream=True))
    assert "".join(pieces) == model.generate("abc", max_new_tokens=6) and len(pieces) == 6
    rows = list(model.generate(["abc", "x"], max_new_tokens=6, stream=True))
    assert ["".join(row) for row in zip(*rows)] == model.generate(["abc", "x"], max_new_tokens=6)
    ids = list(model.generate([97], max_new_tokens=3, stream=True, detokenize=False))
    assert ids == model.generate([97], max_new_tokens=3, detokenize=False).tolist()


def test_streams_that_are_read_in_turn_are_those_that_run_alone(model):
    options = {"max_new_tokens": 8, "stream": True}
    alone = ["".join(model.generate(text, **options)) for text in ("abc", "xyz")]
    pieces = zip(*(model.generate(text, **options) for text in ("abc", "xyz")))
    assert ["".join(column) for column in zip(*pieces)] == alone


def test_a_call_within_a_stream_leaves_it_alone(model):
    whole = model.generate("abc", max_new_tokens=8)
    written = ""
    for piece in model.generate("abc", max_new_tokens=8, stream=True):
        written += piece
        assert model.generate("xyz", max_new_tokens=8, num_beams=1) == model.generate("xyz", max_new_tokens=8)
    assert written == whole


def test_a_stream_gives_its_graphs_back_when_it_ends_and_when_it_is_left(model, caplog):
    with caplog.at_level(logging.DEBUG, logger="mindformers"):
        logging.getLogger("mindformers").propagate = True
        for _ in range(3):
            left = model.generate("abc", max_new_tokens=20, stream=True)
            next(left)
            left.close()
            list(model.generate("abc", max_new_tokens=20, stream=True))
        with pytest.raises(UsageError, match="never ends"):
            model.generate("abc", max_new_tokens=20, stop="q", tokenizer=Refusing())
        model.generate("abc", max_new_tokens=20)
    told = [record.message for record in caplog.records if "generation: graph" in record.message]
    assert len(told) <= 2  # decode and prefill, unless another test compiled them


def test_few_cells_of_a_size_wait_for_the_next_session():
    graphs = Graphs(None)
    cells = [graphs.lend((Unused, (8,))) for _ in range(MOST_IDLE + 1)]
    for cell in cells:
        graphs.give_back((Unused, (8,)), cell)
    again = [graphs.lend((Unused, (8,))) for _ in cells]
    assert sum(cell in cells for cell in again) == MOST_IDLE and len(set(again)) == len(cells)
    assert graphs.lend((Unused, (16,))) not in cells


def test_a_model_that_is_trained_writes_without_dropout_and_goes_on_training(model):
    trained = GPT2LMHeadModel(GPT2Config(**SIZES, eos_token_id=None, initializer_range=0.3), seed=4)
    trained.set_train(True)
    found = trained.generate([[97, 98]], max_new_tokens=5)
    assert found.tolist() == model.generate([[97, 98]], max_new_tokens=5, detokenize=False).tolist()
    assert all(cell.training for _, cell in trained.cells_and_names())
    for _ in trained.generate([97], max_new_tokens=2, stream=True):
        assert trained.training
    assert trained.generate([[97, 98]], max_new_tokens=5, recompute=True).tolist() == found.tolist()


def test_a_stop_text_ends_one_row_and_not_the_others(model):
    whole = model.generate(["abc", "x"], max_new_tokens=8)
    stop = whole[0][3:5]
    cut = model.generate(["abc", "x"], max_new_tokens=8, stop=stop)
    assert cut == [text.split(stop)[0] for text in whole] and len(cut[0]) <= 3


def test_a_stop_text_ends_beams_as_an_end_token_does(model):
    options = {"max_new_tokens": 8, "num_beams": 4, "num_return_sequences": 4}
    free = model.generate("abc", **options)
    stop = free[0][2]
    by_token = model.generate("abc", eos_token_id=ord(stop), **options)
    assert model.generate("abc", stop=stop, **options) == by_token != free


def test_an_end_token_ends_a_row_and_fills_the_matrix(model):
    free = model.generate([[97], [98]], max_new_tokens=6, detokenize=False)
    eos = int(free[0][2])
    found = model.generate([[97], [98]], max_new_tokens=6, detokenize=False, eos_token_id=eos, pad_token_id=1)
    end = free[0].tolist().index(eos)
    assert found[0].tolist() == [*free[0][: end + 1], *[1] * (found.shape[1] - end - 1)]


def test_a_seed_repeats_a_text_and_rows_differ(model):
    options = {"do_sample": True, "max_new_tokens": 12, "top_k": 0, "temperature": 3.0}
    first = model.generate("abc", seed=1, num_return_sequences=3, **options)
    assert first == model.generate("abc", seed=1, num_return_sequences=3, **options)
    assert len(set(first)) == 3
    assert model.generate("abc", seed=2, **options) != first[0]
    assert model.generate("abc", seed=1, **options) == first[0]  # the number of rows does not matter
    assert model.generate("abc", seed=1, recompute=True, **options) == first[0]
    assert model.generate("abc", **options) != model.generate("abc", **options)


def test_sequences_are_nested_as_the_prompts_are(model):
    options = {"num_beams": 3, "num_return_sequences": 2, "max_new_tokens": 3}
    assert [len(item) for item in model.generate(["abc", "x"], **options)] == [2, 2]
    assert model.generate("abc", **options) == model.generate(["abc", "x"], **options)[0]
    assert model.generate([97, 98], detokenize=False, **options).shape == (2, 3)


def test_log_probabilities_are_those_of_the_written_tokens(model):
    text, log_probs = model.generate("abc", max_new_tokens=3, return_output_log_probs=True)
    ids = np.array([[*map(ord, "abc" + text)]], np.int32)
    logits = model(Tensor(ids)).asnumpy()[0].astype(np.float64)
    expected = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    assert np.abs(log_probs - [expected[2 + step, ids[0, 3 + step]] for step in range(3)]).max() < 1e-5
    beam, beam_probs = model.generate("abc", max_new_tokens=3, num_beams=2, return_output_log_probs=True)
    assert len(beam_probs) == len(beam) and beam_probs.sum() >= log_probs.sum() - 1e-5


def test_beam_sampling_repeats_by_seed(model):
    options = {"num_beams": 3, "do_sample": True, "max_new_tokens": 6, "temperature": 2.0}
    assert model.generate("abc", seed=5, **options) == model.generate("abc", seed=5, **options)
    assert len({model.generate("abc", seed=seed, **options) for seed in range(6)}) > 1


def test_damaged_weights_are_named_instead_of_written(model):
    weight = model.norm_out.weight
    kept = weight.value().copy()
    weight.set_data(Tensor(np.full(kept.shape, np.nan, np.float32)))
    try:
        with pytest.raises(UsageError, match="row 0 are not finite"):
            model.generate("abc", max_new_tokens=2)
    finally:
        weight.set_data(kept)


def test_changed_weights_change_the_text(model):
    before = model.generate("abc", max_new_tokens=8)
    weight = model.embed.positions.weight
    kept = weight.value().copy()
    weight.set_data(Tensor(-3 * kept.asnumpy()))
    try:
        assert model.generate("abc", max_new_tokens=8) != before
    finally:
        weight.set_data(kept)
    assert model.generate("abc", max_new_tokens=8) == before


def test_any_mixture_of_prompts_compiles_as_many_graphs_as_is_told(model, caplog):
    fresh = GPT2LMHeadModel(GPT2Config(**SIZES, eos_token_id=None), seed=1)
    with caplog.at_level(logging.DEBUG, logger="mindformers"):
        logging.getLogger("mindformers").propagate = True
        for length in (1, 3, 9, 14):
            fresh.generate([7] * length, max_new_tokens=2)
    told = [record.message for record in caplog.records if "generation: graph" in record.message]
    assert len(told) == graph_count(longest=16, rows=1) == 2


def test_the_number_of_graphs_follows_from_the_longest_text_and_the_most_rows():
    assert [bucket(number, 16) for number in (1, 16, 17, 100)] == [16, 16, 32, 128]
    assert bucket(100, 16, most=40) == 40
    # One row: capacity 16 has a decode and a prefill graph, 32 one more of the latter; the same for two rows.
    assert graph_count(longest=32, rows=1) == 5 and graph_count(longest=32, rows=2) == 10


def test_the_parameters_of_a_model_stay_its_own(model):
    model.generate("abc", max_new_tokens=2)
    assert not [item.name for item in model.get_parameters() if "cache" in item.name]


def test_an_encoder_decoder_answers_in_the_same_forms():
    t5 = T5ForConditionalGeneration(
        T5Config(vocab_size=128, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2, decoder_start_token_id=0),
        seed=3,
    )
    options = {"tokenizer": Characters(), "max_new_tokens": 4, "eos_token_id": None}
    one = t5.generate("abc", **options)
    assert len(one) == 4
    assert t5.generate(["abc", "wxyz"], **options)[0] == one
    assert "".join(t5.generate("abc", stream=True, **options)) == one
