"""What the chat in the terminal prints; `tests/integration/test_chat.py` types into it."""

from mindformers.chat.terminal import printable


def test_characters_that_command_a_terminal_are_left_out():
    assert printable("a\x1b[31mb\x9bc\x07\r") == "a[31mbc"


def test_text_of_any_language_and_its_lines_stay():
    assert printable("你好,\n\tÄ 🙂") == "你好,\n\tÄ 🙂"
