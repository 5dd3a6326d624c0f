"""The rules place every parameter of every family; what they do not know is said."""

from fnmatch import fnmatchcase

import pytest

from mindformers.arch.paths import parameter_table
from mindformers.config.model_files import model_files
from mindformers.parallel.rules import PARAMETERS, dims_of, mesh_axes
from tests.parity.family_cases import CASES
from tests.unit.parallel_jobs import case_arch, released

ARCHS = {**{name: lambda name=name: released(name) for name in model_files()}}
ARCHS.update({f"case-{name}": lambda name=name: case_arch(name) for name in CASES})


@pytest.mark.parametrize("name", ARCHS)
def test_every_parameter_has_a_rule_for_each_of_its_dimensions(name):
    for path, spec in parameter_table(ARCHS[name]()).items():
        assert len(dims_of(path)) == len(spec.shape), path


def test_every_rule_places_a_parameter_of_some_family():
    paths = {path for arch in ARCHS.values() for path in parameter_table(arch())}
    first = {next(pattern for pattern, _ in PARAMETERS if fnmatchcase(path, pattern)) for path in paths}
    assert first == {pattern for pattern, _ in PARAMETERS}


@pytest.mark.parametrize(
    ("path", "dims"),
    [
        ("layers.3.attention.q.weight", ("heads", None)),
        ("layers.3.attention.k.bias", ("kv_heads",)),
        ("decoder.layers.11.cross.v.weight", ("kv_heads", None)),
        ("encoder.layers.0.attention.o.weight", (None, "heads")),
        ("layers.0.attention.o.bias", (None,)),
        ("layers.0.mlp.gate.weight", ("mlp", None)),
        ("layers.0.mlp.down.weight", (None, "mlp")),
        ("layers.0.mlp.down.bias", (None,)),
        ("layers.0.norm_mlp.weight", (None,)),
        ("embed.tokens.weight", ("vocab", None)),
        ("embed.positions.weight", (None, None)),
        ("head.weight", ("vocab", None)),
        ("head.transform.weight", (None, None)),
        ("encoder.relative.weight", (None, None)),
    ],
)
def test_what_is_split(path, dims):
    assert dims_of(path) == dims


def test_an_unknown_path_is_an_error_that_names_the_nearest_pattern():
    with pytest.raises(KeyError, match=r"no rule .* 'layers.0.attentoin.q.wait'.*Did you mean '\*layers.\*.q.weight'"):
        dims_of("layers.0.attentoin.q.wait")


def test_few_heads_of_key_and_value_stay_whole():
    assert mesh_axes(8, 8, False, False)["kv_heads"] == "tensor"
    assert mesh_axes(8, 4, False, False)["kv_heads"] is None
    assert mesh_axes(8, 4, False, False)["heads"] == "tensor"


def test_vocabulary_and_sequence_are_split_on_demand():
    assert (mesh_axes(2, 2, False, False)["vocab"], mesh_axes(2, 2, False, True)["vocab"]) == (None, "tensor")
    assert (mesh_axes(2, 2, False, False)["sequence"], mesh_axes(2, 2, True, False)["sequence"]) == (None, "tensor")
