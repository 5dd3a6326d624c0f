"""The sizes in configs/*/model_config: their numbers of parameters are the published ones, and those of PyTorch."""

import re

import pytest

from mindformers.config.model_files import model_files, read_model
from mindformers.listing import counted_head, parameter_count
from tests.conftest import CONFIGS

ORACLE = "the comparison with Hugging Face runs after: pip install 'mindformers[oracle]'"

PUBLISHED = {
    # Encoders with their pooler and without a task's head: the tensors of the released files.
    "bert_tiny_uncased": 4_385_920,  # arXiv:1908.08962 and its README say 4.4M
    "bert_base_uncased": 109_482_240,  # arXiv:1810.04805, section 3: 110M
    "bert_large_uncased": 335_141_888,  # arXiv:1810.04805, section 3: 340M
    "bert_base_chinese": 102_267_648,
    "albert_base_v2": 11_683_584,  # arXiv:1909.11942, table 1: 12M
    "roberta_base": 124_645_632,  # arXiv:1907.11692: 125M
    # Text generators with their output table, which is counted once where it is the token table.
    "t5_small": 60_506_624,  # arXiv:1910.10683, section 3.7: 60 million
    "t5_base": 222_903_552,  # arXiv:1910.10683, section 3.1.2: 220 million
    "gpt2": 124_439_808,  # github.com/openai/gpt-2: 124M (the report's 117M was a mistake)
    "gpt2_medium": 354_823_168,  # 355M
    "gpt2_large": 774_030_080,  # 774M
    "gpt2_xl": 1_557_611_200,  # 1558M
    "llama_7b": 6_738_415_616,  # arXiv:2302.13971, table 2: 6.7B
    "llama_13b": 13_015_864_320,  # 13.0B
    "llama_33b": 32_528_943_616,  # 32.5B
    "llama_65b": 65_285_660_672,  # 65.2B
    "llama2_7b": 6_738_415_616,
    "llama2_13b": 13_015_864_320,
    "llama2_34b": 33_743_970_304,  # arXiv:2308.12950: Code Llama 34B has these sizes
    "llama2_70b": 68_976_648_192,  # arXiv:2307.09288
    "baichuan_7b": 7_000_559_616,  # huggingface.co/baichuan-inc/Baichuan-7B
    "baichuan_13b": 13_264_901_120,  # huggingface.co/baichuan-inc/Baichuan-13B-Base says this number
    "baichuan2_7b": 7_505_973_248,  # arXiv:2309.10305, table 2: 7.5B
    "baichuan2_13b": 13_896_668_160,  # arXiv:2309.10305, table 2: 13.9B
    "bloom_560m": 559_214_592,  # huggingface.co/bigscience/bloom-560m says this number
    "bloom_7b1": 7_069_016_064,  # huggingface.co/bigscience/bloom-7b1 says this number
    "bloom_176b": 176_247_271_424,  # huggingface.co/bigscience/bloom says this number
}
COMPUTED = {
    # No exact number is published for these; worked out by hand from their sizes.
    "internlm_7b": 2 * 103168 * 4096 + 32 * (4 * (4096 * 4096 + 4096) + 3 * 4096 * 11008 + 2 * 4096) + 4096,
    "aquila_7b": 2 * 100008 * 4096 + 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008 + 2 * 4096) + 4096,
    "t5_tiny": 32128 * 128
    + 2 * (32 * 8 + 128)  # relative positions and the last norm of either side
    + (4 * 128 * 512 + 2 * 128 * 512 + 2 * 128)
    + (8 * 128 * 512 + 2 * 128 * 512 + 3 * 128),
    "gpt2_13b": (50257 + 1024) * 5120 + 40 * (12 * 5120**2 + 13 * 5120) + 2 * 5120,
    "gpt2_52b": (50257 + 1024) * 8192 + 64 * (12 * 8192**2 + 13 * 8192) + 2 * 8192,
}
KNOWN = {**PUBLISHED, **COMPUTED}
TASK_FOLDERS = ("qa", "txtcls", "tokcls")
OF_A_TASK = sorted(file.stem for folder in TASK_FOLDERS for file in CONFIGS.glob(f"{folder}/model_config/*.yaml"))
TORCH_CLASSES = {
    "pooler": "AutoModel",
    "causal_lm": "AutoModelForCausalLM",
    "seq2seq_lm": "AutoModelForSeq2SeqLM",
    "question_answering": "AutoModelForQuestionAnswering",
    "sequence_classification": "AutoModelForSequenceClassification",
    "token_classification": "AutoModelForTokenClassification",
}
IN_TRANSFORMERS = {"bert", "roberta", "albert", "gpt2", "llama", "bloom", "t5"}
LARGEST_IN_TORCH = 8e9
"""Parameters up to which a model is made of PyTorch's cells, without memory for its tensors."""


@pytest.mark.parametrize("name", KNOWN)
def test_a_size_has_the_published_number_of_parameters(name):
    assert parameter_count(read_model(model_files()[name])) == KNOWN[name]


@pytest.mark.parametrize("name", sorted(model_files()))
def test_a_size_is_that_of_hugging_faces_model(name):
    torch = pytest.importorskip("torch", reason=ORACLE)
    transformers = pytest.importorskip("transformers", reason=ORACLE)
    described = read_model(model_files()[name])
    ours = parameter_count(described)
    values = described.config.to_hf()
    kind = values.pop("model_type")
    if kind not in transformers.CONFIG_MAPPING or ours > LARGEST_IN_TORCH:
        return  # there is nothing to compare with, or making it takes long
    if counted_head(described) == "question_answering":
        values["num_labels"] = 2
    with torch.device("meta"):
        model_class = getattr(transformers, TORCH_CLASSES[counted_head(described)])
        model = model_class.from_config(transformers.AutoConfig.for_model(kind, **values))
    assert ours == sum(parameter.numel() for parameter in model.parameters())


def test_transformers_knows_the_families_that_are_compared():
    transformers = pytest.importorskip("transformers", reason=ORACLE)
    kinds = {read_model(file).config.model_type for file in model_files().values()}
    assert kinds & set(transformers.CONFIG_MAPPING) >= IN_TRANSFORMERS


@pytest.mark.parametrize("name", sorted(model_files()))
def test_a_size_survives_config_json(name):
    described = read_model(model_files()[name])
    head = counted_head(described)
    assert type(described.config).from_hf(described.config.to_hf()).arch(head) == described.config.arch(head)


@pytest.mark.parametrize("name", sorted(model_files()))
def test_a_file_says_what_it_is_and_only_what_differs(name):
    lines = model_files()[name].read_text(encoding="utf-8").splitlines()
    assert lines[0].startswith("# ")
    described = read_model(model_files()[name])
    defaults = type(described.config)()
    if name not in OF_A_TASK:
        written = re.findall(r"^    (\w+):", "\n".join(lines), re.MULTILINE)
        assert not [
            key for key in written if key != "type" and getattr(described.config, key) == getattr(defaults, key)
        ]


@pytest.mark.parametrize("name", KNOWN)
def test_the_readme_beside_a_size_says_its_number(name):
    text = (model_files()[name].parent.parent / "README.md").read_text(encoding="utf-8")
    row = next(line for line in text.splitlines() if f"model_config/{name}.yaml" in line)
    assert f"{KNOWN[name]:,}" in row
