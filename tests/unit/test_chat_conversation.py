"""A conversation is cut to what the model reads: the oldest turns first, never the system prompt."""

import numpy as np
import pytest

from mindformers.chat.conversation import Conversation
from mindformers.errors import UsageError


def letters(messages):
    """One token for each letter."""
    return np.arange(sum(len(message["content"]) for message in messages))


def talk(room=20, system=None):
    conversation = Conversation(letters, room, system)
    for question, answer in (("first", "1"), ("second", "2")):
        conversation.ask(question)
        conversation.answer(answer)
    return conversation


def contents(conversation):
    return [turn["content"] for turn in conversation.turns]


def test_what_was_said_before_is_part_of_the_prompt():
    ids, left_out = talk().ask("third")
    assert len(ids) == 18 and left_out == 0


def test_the_oldest_questions_are_left_out_with_their_answers():
    conversation = talk()
    ids, left_out = conversation.ask("the third")
    assert (len(ids), left_out) == (16, 1) and contents(conversation) == ["second", "2", "the third"]
    conversation.answer("3")
    assert conversation.ask("four")[1] == 1, "what was left out once is not counted again"


def test_the_system_prompt_stays():
    conversation = talk(room=24, system="kind")
    ids, left_out = conversation.ask("a longer third")
    assert (len(ids), left_out) == (18, 2) and contents(conversation) == ["a longer third"]


def test_a_question_that_does_not_fit_alone_is_refused_and_nothing_is_forgotten():
    conversation = talk(system="kind")
    with pytest.raises(UsageError, match="has 21 tokens with the system prompt and there is room for 20"):
        conversation.ask("x" * 17)
    assert contents(conversation) == ["first", "1", "second", "2"]


def test_a_question_without_an_answer_can_be_taken_back():
    conversation = talk()
    conversation.ask("third")
    conversation.withdraw()
    assert contents(conversation) == ["first", "1", "second", "2"]


def test_clearing_forgets_the_turns_and_keeps_the_system_prompt():
    conversation = talk(system="kind")
    conversation.clear()
    assert len(conversation.ask("abc")[0]) == 7
