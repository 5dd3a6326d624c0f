"""Jobs that the tests of plans share."""

import dataclasses

from mindformers.arch.stacks import DecoderArch, EncoderArch, EncoderDecoderArch
from mindformers.catalog import FAMILIES
from mindformers.config.model_files import model_files, read_model
from mindformers.listing import counted_head
from mindformers.parallel.job import Job
from mindformers.parallel.mesh import Mesh
from mindformers.registry import load_object
from tests.parity.family_cases import CASES

SIZES = {"vocab_size": 96, "hidden_size": 24, "num_layers": 4, "num_heads": 6, "intermediate_size": 48}
DECODER = DecoderArch(**SIZES, max_positions=32, pre_norm=True, head="causal_lm")
GROUPED = dataclasses.replace(
    DECODER, num_kv_heads=2, norm="rms_norm", positions="rotary", gated=True, tied_head=False, activation="silu"
)
SHARED = EncoderArch(
    **SIZES, max_positions=32, distinct_layers=2, embedding_size=12, type_vocab_size=2, head="masked_lm"
)
TWO_STACKS = EncoderDecoderArch(
    **SIZES, max_positions=32, pre_norm=True, positions="relative", num_decoder_layers=4, head="seq2seq_lm"
)
ARCHS = {"tied": DECODER, "grouped": GROUPED, "shared": SHARED, "two-stacks": TWO_STACKS}


def job(arch=DECODER, data=1, tensor=1, stage=1, **choices):
    """A job of a few tokens whose pipeline, if any, is filled."""
    given = {"seq_length": 16, "batch": 2, "micro_batches": 2 * stage, **choices}
    return Job(arch=arch, mesh=Mesh(data, tensor, stage), **given)


def released(name):
    """The architecture of a shipped size, with the head of its published number of parameters."""
    described = read_model(model_files()[name])
    return described.config.arch(counted_head(described))


def case_arch(name):
    """The architecture of a case of the parity tests."""
    case = CASES[name]
    family = FAMILIES[case.config["model_type"]]
    config = load_object(f"{family.package}.config:{family.config}").from_hf(case.config)
    described = dataclasses.replace(read_model(model_files()["gpt2"]), config=config, class_name=case.model)
    return config.arch(counted_head(described))
