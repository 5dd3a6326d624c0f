"""A tiny model with random weights that can be talked to, made on the spot."""

from pathlib import Path

from mindformers.models.gpt2 import GPT2Config, GPT2LMHeadModel
from mindformers.tokenizers.byte_level import GPT2Tokenizer
from tests.unit.tokenizer_vocabularies import write_byte_level

POSITIONS = 64
TEMPLATE = "{% for message in messages %}<{{ message.role[0] }}>{{ message.content }}{% endfor %}<a>"
"""Short, so that conversations fit the smallest graphs."""


def write_speaker(folder: Path, template=TEMPLATE) -> Path:
    """Write a model and its tokenizer into a new folder."""
    folder.mkdir(parents=True)
    write_byte_level(folder)
    tokenizer = GPT2Tokenizer.from_pretrained(folder, bos_token="<s>", eos_token="</s>", unk_token="<unk>")
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    sizes = {"vocab_size": tokenizer.vocab_size, "n_positions": POSITIONS, "n_embd": 32, "n_layer": 1, "n_head": 2}
    config = GPT2Config(**sizes, initializer_range=0.3, bos_token_id=0, eos_token_id=3)
    GPT2LMHeadModel(config, seed=4).save_pretrained(folder)
    return folder
