"""Auto classes: configuration, model and processor of a folder, a YAML file or a name."""

import json

import numpy as np
import pytest
from mindspore import Tensor
from mindspore import dtype as mstype

from mindformers.catalog import FAMILIES
from mindformers.config.check import check_file
from mindformers.config.explain import explain
from mindformers.errors import CheckpointError, ConfigError, UnknownNameError, UsageError
from mindformers.models.auto import (
    AutoConfig,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoProcessor,
)
from mindformers.models.bert.config import BertConfig
from mindformers.models.bert.model import BertForMaskedLM, BertForQuestionAnswering, BertModel
from mindformers.models.llama.config import LlamaConfig
from mindformers.models.processor import TextProcessor
from mindformers.tokenizers.wordpiece import BertTokenizer
from mindformers.weights.convert import convert
from mindformers.weights.folder import model_type
from mindformers.weights.writers import save_safetensors
from tests.conftest import CONFIGS

SIZES = {"vocab_size": 12, "hidden_size": 8, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 16}
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "my", "name", "is", "wolf", "##gang", "here", "-"]
SIZES_YAML = "".join(f"    {key}: {value}\n" for key, value in SIZES.items())
CLASSES = [
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForPreTraining,
    AutoModelForQuestionAnswering,
    AutoModelForSeq2SeqLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
]


@pytest.fixture(autouse=True)
def empty_folder(tmp_path, monkeypatch):
    """Work in a folder of one's own; no name may reach the network."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def model_folder(tmp_path):
    """A masked-LM model with its tokenizer, as save_pretrained writes it."""
    folder = tmp_path / "model"
    BertForMaskedLM(BertConfig(**SIZES)).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return folder


def write_yaml(folder, extra="", arch=""):
    file = folder / "sizes.yaml"
    file.write_text(f"model:\n{arch}  model_config:\n    type: BertConfig\n{SIZES_YAML}{extra}", encoding="utf-8")
    return file


def embeddings(model):
    return next(item for item in model.get_parameters() if item.name == "embed.tokens.weight").asnumpy()


def test_a_folder_gives_its_configuration(model_folder):
    assert AutoConfig.from_pretrained(model_folder) == BertConfig(**SIZES)


def test_a_yaml_file_gives_its_configuration_through_its_bases(tmp_path):
    write_yaml(tmp_path)
    (tmp_path / "run_x.yaml").write_text(
        "base_config: [sizes.yaml]\nmodel:\n  model_config:\n    num_labels: 5\n", encoding="utf-8"
    )
    assert AutoConfig.from_pretrained(tmp_path / "run_x.yaml") == BertConfig(**SIZES, num_labels=5)
    assert AutoConfig.from_config("run_x.yaml").num_labels == 5


def test_the_name_of_a_shipped_size_or_run_needs_no_network():
    assert AutoConfig.from_pretrained("llama2_70b").num_key_value_heads == 8
    assert AutoConfig.from_pretrained("qa_bert_tiny").hidden_size == 128
    assert isinstance(AutoConfig.from_config("llama_7b"), LlamaConfig)


def test_what_lies_on_disk_under_a_name_comes_before_the_shipped_size(tmp_path):
    folder = tmp_path / "checkpoint_download" / "bert" / "bert_base_uncased"
    BertConfig(**SIZES).save_pretrained(folder)
    assert AutoConfig.from_pretrained("bert_base_uncased").hidden_size == 8


def test_a_yaml_file_with_a_mistake_says_where(tmp_path):
    with pytest.raises(ConfigError, match="num_labls: unknown key"):
        AutoConfig.from_pretrained(write_yaml(tmp_path, "    num_labls: 3\n"))


def test_a_yaml_file_without_a_model_or_without_existence_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("seed: 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="model.model_config: missing"):
        AutoConfig.from_pretrained("a.yaml")
    with pytest.raises(UnknownNameError, match=r"nowhere\.yaml"):
        AutoConfig.from_pretrained("nowhere.yaml")
    with pytest.raises(UsageError, match="give a YAML file"):
        AutoConfig.from_config("nowhere")


def test_a_configuration_is_written_and_read_again(tmp_path):
    config = LlamaConfig(num_hidden_layers=3, num_key_value_heads=8, tie_word_embeddings=True)
    file = config.save_pretrained(tmp_path / "new" / "folder")
    assert json.loads(file.read_text(encoding="utf-8"))["model_type"] == "llama"
    assert AutoConfig.from_pretrained(file.parent) == config


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"model_type": "gpt2", "architectures": ["BertModel"]}, "gpt2"),
        ({"architectures": ["BertForMaskedLM"]}, "bert"),
        ({"architectures": ["SomethingElse", "T5ForConditionalGeneration"]}, "t5"),
        ({"architectures": ["BaiChuanForCausalLM"]}, "baichuan"),
    ],
)
def test_the_family_is_the_model_type_or_else_that_of_the_architectures(values, expected):
    assert model_type(values) == expected


@pytest.mark.parametrize(
    ("values", "nearest"),
    [
        ({"model_type": "distilbert"}, "'bert'"),
        ({"model_type": "xlm-roberta", "architectures": ["XLMRobertaModel"]}, "'roberta'"),
        ({"model_type": "lama"}, "'llama'"),
        ({"architectures": ["LlammaForCausalLM"]}, "'LlamaForCausalLM'"),
        ({"model_type": "whisper"}, "Known families: bert"),
    ],
)
def test_an_unknown_family_is_refused_with_the_nearest(values, nearest):
    with pytest.raises(UnknownNameError) as caught:
        model_type(values)
    assert nearest in str(caught.value)


def test_a_config_json_that_names_no_family_is_refused():
    with pytest.raises(CheckpointError, match="neither model_type nor architectures"):
        AutoConfig.from_hf({"hidden_size": 8})


def test_a_folder_gives_the_model_with_the_head_that_is_asked(model_folder):
    model = AutoModelForMaskedLM.from_pretrained(model_folder)
    assert isinstance(model, BertForMaskedLM)
    asked = AutoModelForQuestionAnswering.from_pretrained(model_folder, new_head=True)
    assert isinstance(asked, BertForQuestionAnswering)
    np.testing.assert_array_equal(embeddings(asked), embeddings(model))


def test_a_yaml_file_gives_the_model_with_the_weights_it_names(tmp_path, model_folder):
    file = write_yaml(tmp_path, "    num_labels: 7\n    checkpoint_name_or_path: model\n")
    model = AutoModelForMaskedLM.from_pretrained(file)
    assert model.config.num_labels == 7
    np.testing.assert_array_equal(embeddings(model), embeddings(AutoModelForMaskedLM.from_pretrained(model_folder)))


def test_a_checkpoint_of_a_run_is_read_by_the_yaml_file_beside_it(tmp_path):
    trained = BertForQuestionAnswering(BertConfig(**SIZES, seq_length=9), seed=3)
    folder = tmp_path / "output" / "checkpoint"
    folder.mkdir(parents=True)
    arrays = {item.name: item.asnumpy() for item in trained.get_parameters()}
    save_safetensors(folder / "model.safetensors", arrays)
    checked = check_file(write_yaml(tmp_path, "    seq_length: 9\n", "  arch: {type: BertForQuestionAnswering}\n"))
    (folder / "config.yaml").write_text(explain(checked, defaults=True), encoding="utf-8")
    (tmp_path / "sizes.yaml").unlink()
    assert AutoConfig.from_pretrained(folder).seq_length == 9
    model = AutoModel.from_pretrained(folder)
    assert isinstance(model, BertForQuestionAnswering)
    np.testing.assert_array_equal(embeddings(model), embeddings(trained))


def test_a_folder_with_our_own_names_gives_its_model(tmp_path, model_folder):
    convert(model_folder, tmp_path / "native", "hf", "native")
    model = AutoModelForMaskedLM.from_pretrained(tmp_path / "native")
    np.testing.assert_array_equal(embeddings(model), embeddings(AutoModelForMaskedLM.from_pretrained(model_folder)))


def test_a_yaml_file_without_weights_asks_for_from_config(tmp_path):
    with pytest.raises(UsageError, match=r"names no weights.*AutoModelForMaskedLM\.from_config"):
        AutoModelForMaskedLM.from_pretrained(write_yaml(tmp_path))


def test_a_fresh_model_comes_from_a_configuration_a_yaml_file_or_a_name(tmp_path):
    config = BertConfig(**SIZES)
    assert isinstance(AutoModel.from_config(config), BertModel)
    assert AutoModelForMaskedLM.from_config(write_yaml(tmp_path)).config == config
    assert isinstance(AutoModel.from_config("qa_bert_tiny"), BertForQuestionAnswering)
    assert isinstance(AutoModelForMaskedLM.from_config(CONFIGS / "qa" / "run_qa_bert_tiny.yaml"), BertForMaskedLM)


def test_the_base_class_makes_the_class_that_a_yaml_file_names(tmp_path):
    file = write_yaml(tmp_path, arch="  arch: {type: BertForQuestionAnswering}\n")
    assert isinstance(AutoModel.from_config(file), BertForQuestionAnswering)
    assert isinstance(AutoModelForMaskedLM.from_config(file), BertForMaskedLM)


def test_weights_that_are_not_there_are_named_with_the_way_to_them():
    with pytest.raises(CheckpointError, match="HF_HUB_OFFLINE is set") as caught:
        AutoModelForCausalLM.from_pretrained("gpt2")
    assert "checkpoint_download" in str(caught.value)


def test_a_head_that_a_family_does_not_have_names_those_that_do():
    with pytest.raises(UsageError, match="bert has no model ForCausalLM; these have one: gpt2"):
        AutoModelForCausalLM.from_config(BertConfig(**SIZES))
    with pytest.raises(UsageError, match="it got dict"):
        AutoModel.from_config({"model_type": "bert"})


@pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
def test_every_auto_class_says_what_it_supports(cls, capsys):
    names = cls.get_support_list()
    assert names
    cls.show_support_list()
    assert capsys.readouterr().out == f"{cls.__name__}: {', '.join(names)}\n"


def test_support_lists_tell_the_stacks_apart():
    assert AutoModelForSeq2SeqLM.get_support_list() == ["t5"]
    assert "bert" not in AutoModelForCausalLM.get_support_list()
    assert AutoConfig.get_support_list() == AutoProcessor.get_support_list() == list(FAMILIES)


@pytest.fixture
def tokenizer(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return BertTokenizer(tmp_path / "vocab.txt")


def test_a_processor_turns_a_text_into_int32_tensors(tokenizer):
    rows = TextProcessor(tokenizer)("my name is wolfgang")
    assert sorted(rows) == ["attention_mask", "input_ids", "token_type_ids"]
    assert all(isinstance(item, Tensor) and item.dtype == mstype.int32 for item in rows.values())
    assert rows["input_ids"].asnumpy().tolist() == [[2, 5, 6, 7, 8, 9, 3]]


def test_a_processor_pads_a_list_and_cuts_at_its_length(tokenizer):
    rows = TextProcessor(tokenizer, max_length=5)(["my", "my name is wolf here"])
    assert rows["input_ids"].asnumpy().tolist() == [[2, 5, 3, 0, 0], [2, 5, 6, 7, 3]]
    assert rows["attention_mask"].asnumpy().tolist() == [[1, 1, 1, 0, 0], [1] * 5]
    assert TextProcessor(tokenizer, 9, "max_length", "np")("my")["input_ids"].shape == (1, 9)


@pytest.mark.parametrize(
    ("text", "pair"),
    [(("my name", "wolf"), None), ([("my name", "wolf")], None), ("my name", "wolf"), (["my name"], ["wolf"])],
)
def test_a_pair_is_a_tuple_or_two_arguments(tokenizer, text, pair):
    rows = TextProcessor(tokenizer, return_tensors="np")(text, pair)
    assert rows["input_ids"].tolist() == [[2, 5, 6, 3, 8, 3]]
    assert rows["token_type_ids"].tolist() == [[0, 0, 0, 0, 1, 1]]


@pytest.mark.parametrize(
    ("text", "pair", "said"),
    [
        ([], None, "not empty"),
        (3, None, "give a text"),
        (["my", ("my", "name")], None, "every row must be a text"),
        ([("my", "name", "is")], None, "every row must be a text"),
        (["my"], ["name", "is"], "one text for each of the 1"),
        ([("my", "name")], ["is"], "are pairs already"),
    ],
)
def test_a_processor_refuses_what_is_no_text(tokenizer, text, pair, said):
    with pytest.raises(UsageError, match=said):
        TextProcessor(tokenizer)(text, pair)


def test_a_processor_refuses_unknown_tensors_and_names(tokenizer):
    with pytest.raises(UsageError, match="accepted are 'ms'"):
        TextProcessor(tokenizer, return_tensors="pt")
    with pytest.raises(UsageError, match="AutoProcessor"):
        TextProcessor("bert_base_uncased")


def test_a_folder_gives_its_processor(model_folder):
    processor = AutoProcessor.from_pretrained(model_folder, max_length=4)
    assert processor("my name is wolf")["input_ids"].shape == (1, 4)


def test_a_yaml_file_gives_its_processor(tmp_path, tokenizer):
    section = "processor:\n  max_length: 6\n  padding: max_length\n  tokenizer:\n    type: BertTokenizer\n"
    file = write_yaml(tmp_path, f"{section}    vocab_file: {tmp_path / 'vocab.txt'}\n")
    assert AutoProcessor.from_pretrained(file)("my")["input_ids"].shape == (1, 6)
    assert AutoProcessor.from_pretrained(file, max_length=3)("my name")["input_ids"].shape == (1, 3)
    assert AutoProcessor.from_config(file)("my")["input_ids"].shape == (1, 6)


def test_a_yaml_file_without_a_tokenizer_says_what_to_set(tmp_path):
    with pytest.raises(UsageError, match="names no tokenizer"):
        AutoProcessor.from_pretrained(write_yaml(tmp_path))
