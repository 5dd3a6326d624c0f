"""Text in pieces: whole characters, no stop text, spaces as the whole text has them."""

import pytest

from mindformers.generation.text import TextPieces

SENTENCE = "naïve 北京 🙂 end"


class Bytes:
    """A token is a byte; what is no character yet decodes to U+FFFD."""

    def decode(self, ids):
        return bytes(ids).decode("utf-8", errors="replace")


class Words:
    """A token is a word with a space before it, which the first word of a text loses, as SentencePiece does it."""

    WORDS = ("the", "cat", "sat")

    def decode(self, ids):
        return " ".join(self.WORDS[index] for index in ids)


def pieces_of(text, prompt=b"", stop=(), tokenizer=None):
    pieces = TextPieces(tokenizer or Bytes(), prompt, stop)
    given = []
    for token in text:
        given.append(pieces.add(token))
        if pieces.is_stopped:
            break
    return [*given, pieces.finish()], pieces


def test_no_piece_holds_half_a_character():
    given, pieces = pieces_of(SENTENCE.encode())
    assert "".join(given) == pieces.text == SENTENCE
    assert "\ufffd" not in "".join(given)
    assert given[2:4] == ["", "ï"]


def test_a_character_that_never_ends_comes_with_the_last_piece():
    given, _ = pieces_of("a北".encode()[:-1])
    assert given == ["a", "", "", "\ufffd"]


def test_the_space_after_the_prompt_is_kept():
    given, _ = pieces_of([1, 2], prompt=[0], tokenizer=Words())
    assert given == [" cat", " sat", ""]


def test_without_a_prompt_the_text_has_no_space_before_it():
    assert pieces_of([1, 2], tokenizer=Words())[0] == ["cat", " sat", ""]


@pytest.mark.parametrize("stop", ("STOP", "🙂", "P!"))
def test_a_stop_text_ends_the_answer_across_tokens_and_is_left_out(stop):
    text = "some ST and 🙂 STOP! more"
    given, pieces = pieces_of(text.encode(), stop=(stop,))
    assert pieces.is_stopped
    assert "".join(given) == text[: text.index(stop)] == pieces.text


def test_the_first_of_several_stop_texts_counts():
    given, _ = pieces_of(b"one two three", stop=("three", "two"))
    assert "".join(given) == "one "


def test_what_may_begin_a_stop_text_waits():
    pieces = TextPieces(Bytes(), b"", ("abc",))
    assert [pieces.add(byte) for byte in b"xabx"] == ["x", "", "", "abx"]
    assert [pieces.add(byte) for byte in b"ab"] == ["", ""]
    assert pieces.finish() == "ab"


def test_only_a_bounded_number_of_tokens_is_decoded_again():
    seen = []

    class Watching(Bytes):
        def decode(self, ids):
            seen.append(len(ids))
            return super().decode(ids)

    pieces_of(b"x" * 200, tokenizer=Watching())
    assert max(seen) < 20
