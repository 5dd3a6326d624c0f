"""Every family and head against Hugging Face: golden files always, the live library where it is installed.

A golden file (made by scripts/make_goldens.py) holds the shapes of a checkpoint, the loss, samples of the outputs and,
for every tensor, the gradient's norm and its product with a seeded vector. Weights and batch come from family_cases.
"""

import json
from pathlib import Path

import mindspore as ms
import numpy as np
import pytest
from mindspore import ParameterTuple, Tensor

from mindformers.models.auto import AutoConfig
from mindformers.registry import load_object
from mindformers.weights.layout import join
from tests.parity.family_cases import CASES, batch, counted, generator, write_checkpoint
from tests.parity.tolerances import GRADIENT_RELATIVE, LOSS, MODEL

GOLDEN = Path(__file__).parent.parent / "golden" / "families"
GRAPH_CASES = (
    "bert-sequence",
    "roberta-token",
    "albert-masked-lm",
    "gpt2-causal-lm",
    "llama-grouped-theta",
    "baichuan-alibi-normalized",
    "bloom-causal-lm",
    "internlm-dynamic",
    "t5-few-buckets-gated-silu",
)


def golden(name):
    return json.loads((GOLDEN / f"{name}.json").read_text())


def load(case, folder):
    package = type(AutoConfig.from_pretrained(folder)).__module__.rsplit(".", 1)[0]
    return load_object(f"{package}.model:{case.model}").from_pretrained(folder)


def computed(name, folder, mode):
    """Return what our model computes, in the form of family_oracle.expected."""
    case = CASES[name]
    before = ms.get_context("mode")
    ms.set_context(mode=mode)
    try:
        model = load(case, write_checkpoint(folder, case, golden(name)["shapes"]))
        inputs, targets = batch(name, case)
        given = {key: Tensor(value.astype(np.int32)) for key, value in inputs.items()}
        outputs = model(**given)
        outputs = [item.asnumpy() for item in (outputs if isinstance(outputs, tuple) else (outputs,))]
        loss, gradients = None, {}
        if targets:
            parameters = {item.name: item for item in model.trainable_params()}
            wanted = {
                key: Tensor(value.astype(np.int32) if value.dtype == np.int64 else value)
                for key, value in targets.items()
            }

            def forward():
                return model(**given, **wanted)

            value, found = ms.value_and_grad(forward, None, ParameterTuple(list(parameters.values())))()
            loss, ours = float(value), dict(zip(parameters, found))
            for step in model.weight_map.export(list(parameters)):
                parts = [ours[path].asnumpy() for path in step.paths]
                gradients[step.theirs] = join(step, parts, model.arch.num_heads)
        return {"outputs": outputs, "loss": loss, "gradients": gradients}
    finally:
        ms.set_context(mode=before)


def condensed(name, result):
    """Return what a golden file keeps of a result; gradients of several tensors of one name pattern stay apart."""
    keep = counted(CASES[name], batch(name, CASES[name])[0])
    samples = []
    for output in result["outputs"]:
        real = output[keep] if output.shape[:2] == keep.shape else output
        places = generator("sample", name).choice(real.size, min(real.size, 64), replace=False)
        samples.append([float(value) for value in real.reshape(-1)[places]])
    gradients = {}
    for key, value in result["gradients"].items():
        direction = generator("direction", key).standard_normal(value.shape)
        gradients[key] = [float(np.linalg.norm(value)), float((value * direction).sum())]
    return {"outputs": samples, "loss": result["loss"], "gradients": gradients}


def assert_close(ours, theirs):
    """Compare two condensed results."""
    assert len(ours["outputs"]) == len(theirs["outputs"])
    for mine, other in zip(ours["outputs"], theirs["outputs"]):
        assert np.abs(np.array(mine) - other).max() < MODEL
    if theirs["loss"] is None:
        assert ours["loss"] is None
        return
    assert abs(ours["loss"] - theirs["loss"]) < LOSS * abs(theirs["loss"])
    assert set(theirs["gradients"]) <= set(ours["gradients"])
    total = np.sqrt(sum(norm**2 for norm, _ in theirs["gradients"].values()))
    for key, (norm, product) in ours["gradients"].items():
        other = theirs["gradients"].get(key, [0.0, 0.0])
        width = max(1.0, np.sqrt(len(theirs["gradients"])))
        assert abs(norm - other[0]) < GRADIENT_RELATIVE * total, key
        assert abs(product - other[1]) < GRADIENT_RELATIVE * total * width, key


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Return a function from a case and a mode to what our model computes, computed once."""
    known = {}

    def get(name, mode):
        if (name, mode) not in known:
            known[name, mode] = computed(name, tmp_path_factory.mktemp(name), mode)
        return known[name, mode]

    return get


@pytest.mark.parametrize("name", CASES)
def test_outputs_loss_and_gradients_are_those_of_the_golden_file(results, name):
    assert_close(condensed(name, results(name, ms.PYNATIVE_MODE)), golden(name))


@pytest.mark.parametrize("name", GRAPH_CASES)
def test_a_compiled_graph_computes_the_same(results, name):
    assert_close(condensed(name, results(name, ms.GRAPH_MODE)), golden(name))


@pytest.mark.parametrize("name", CASES)
def test_every_element_is_that_of_the_live_library(results, name):
    pytest.importorskip("torch", reason="needs: pip install 'mindformers[oracle]'")
    pytest.importorskip("transformers", reason="needs: pip install 'mindformers[oracle]'")
    from tests.parity.family_oracle import expected

    theirs, ours = expected(name, CASES[name]), results(name, ms.PYNATIVE_MODE)
    assert {key: list(shape) for key, shape in theirs["shapes"].items()} == golden(name)["shapes"]
    keep = counted(CASES[name], batch(name, CASES[name])[0])
    for mine, other in zip(ours["outputs"], theirs["outputs"]):
        difference = np.abs(mine - other)
        assert (difference[keep] if mine.shape[:2] == keep.shape else difference).max() < MODEL
    total = np.sqrt(sum((value**2).sum() for value in theirs["gradients"].values()))
    for key, other in theirs["gradients"].items():
        assert np.linalg.norm(ours["gradients"][key] - other) < GRADIENT_RELATIVE * total, key
    assert_close(condensed(name, theirs), golden(name))
