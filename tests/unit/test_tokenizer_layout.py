"""Where special tokens stand, how texts are shortened, and text that remembers its original."""

import pytest
from tokenizers import Tokenizer, models, processors

from mindformers.errors import DataError, UsageError
from mindformers.tokenizers.aligned_text import AlignedText, without_accents
from mindformers.tokenizers.layout import FIRST, SECOND, Layout, kept_lengths, layout_of_backend, layout_of_names

IDS = {"cls": 7, "sep": 8}


def test_type_one_begins_with_the_second_text():
    layout = layout_of_names(("cls", FIRST, "sep"), ("cls", FIRST, "sep", SECOND, "sep"), IDS)
    assert layout.arrange([1, 2], None) == ([7, 1, 2, 8], [0, 0, 0, 0])
    assert layout.arrange([1], [2, 3]) == ([7, 1, 8, 2, 3, 8], [0, 0, 0, 1, 1, 1])
    assert (layout.special_count(False), layout.special_count(True)) == (2, 3)


def test_a_token_that_the_tokenizer_does_not_have_is_left_out():
    assert layout_of_names(("bos", FIRST), ("bos", FIRST, SECOND), {}) == Layout((("A", 0),), (("A", 0), ("B", 1)))


@pytest.fixture
def backend():
    made = Tokenizer(models.WordLevel({"a": 0, "<s>": 1, "</s>": 2}, unk_token="a"))
    made.add_special_tokens(["<s>", "</s>"])
    return made


@pytest.mark.parametrize(
    "processor, pair",
    [
        (processors.BertProcessing(("</s>", 2), ("<s>", 1)), [1, 0, 2, 0, 2]),
        (processors.RobertaProcessing(("</s>", 2), ("<s>", 1)), [1, 0, 2, 2, 0, 2]),
        (processors.TemplateProcessing("<s> $A", "<s> $A $B:1 </s>:1", [("<s>", 1), ("</s>", 2)]), [1, 0, 0, 2]),
        (processors.ByteLevel(), [0, 0]),
        (None, [0, 0]),
    ],
)
def test_the_layout_of_a_stored_post_processor_is_the_librarys(backend, processor, pair):
    if processor is not None:
        backend.post_processor = processor
    layout = layout_of_backend(backend, "file")
    assert layout.arrange([0], [0])[0] == pair == backend.encode("a", "a").ids
    assert layout.arrange([0], None)[0] == backend.encode("a").ids


def test_a_sequence_of_post_processors_is_read_from_its_template(backend):
    template = processors.TemplateProcessing("$A </s>", "$A $B:1 </s>:1", [("</s>", 2)])
    backend.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    assert layout_of_backend(backend, "file").arrange([0], None)[0] == [0, 2]


@pytest.mark.parametrize("trim", [True, False])
def test_a_layout_survives_the_way_through_the_library(backend, trim):
    layout = layout_of_names(("cls", FIRST), ("cls", FIRST, SECOND, "sep"), {"cls": 1, "sep": 2})
    backend.post_processor = layout.processor(backend, trim)
    assert layout_of_backend(backend, "file") == layout


def test_an_unknown_post_processor_is_refused_naming_the_file(backend):
    class Other:
        post_processor = type("Processor", (), {"__getstate__": lambda self: b'{"type": "Other"}'})()

    with pytest.raises(DataError, match=r"x/tokenizer.json: the post-processor Other is not supported"):
        layout_of_backend(Other(), "x/tokenizer.json")


@pytest.mark.parametrize(
    "first, second, room, strategy, kept",
    [
        (5, None, 9, True, (5, 0)),
        (5, None, 3, True, (3, 0)),
        (5, 5, 7, "longest_first", (3, 4)),
        (9, 2, 7, "longest_first", (5, 2)),
        (6, 2, 7, "only_first", (5, 2)),
        (6, 4, 7, "only_second", (6, 1)),
    ],
)
def test_texts_are_shortened_as_the_strategy_says(first, second, room, strategy, kept):
    assert kept_lengths(first, second, room, strategy) == kept


def test_a_strategy_that_leaves_less_than_nothing_is_refused():
    with pytest.raises(UsageError, match="5 tokens are to hold 2 \\+ 8"):
        kept_lengths(2, 8, 5, "only_first")


def originals(text, aligned):
    return [text[begin:end] for begin, end in aligned.spans]


def test_cleaned_text_knows_which_characters_it_came_from():
    text = "  É\u0301``x''  ﬁ\t"
    aligned = AlignedText.original(text).stripped().replaced(r"\s+", " ").replaced("``|''", '"')
    aligned = aligned.mapped(without_accents).lowered()
    assert aligned.text == 'e"x" fi'
    assert originals(text, aligned) == ["É", "``", "x", "''", "  ", "ﬁ", "ﬁ"]


def test_the_final_form_of_sigma_is_chosen_within_the_whole_text():
    assert AlignedText.original("ΟΔΟΣ").lowered().text == "οδος"


def test_a_letter_that_grows_in_lower_case_keeps_its_place():
    aligned = AlignedText.original("aİb").lowered()
    assert aligned.text == "ai\u0307b" and originals("aİb", aligned) == ["a", "İ", "İ", "b"]


def test_an_empty_text_stays_empty():
    aligned = AlignedText.original(" \t").stripped()
    assert aligned.text == "" and aligned.whole(0, 0) == (0, 0)
