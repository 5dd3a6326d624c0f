"""Folders that we save, read by Hugging Face: every case computes there what the folder it came from does."""

import pytest
import torch
import transformers

from tests.parity.family_cases import CASES, batch, write_checkpoint
from tests.parity.test_families import golden, load

CLASSES = {name: case for name, case in CASES.items() if not case.oracle and not case.oracle_config}
"""Cases whose class transformers has."""

UNUSED = {"cls.predictions.bias"}
"""What transformers makes and does not read when tables are not tied: decoder.bias stands in its place."""


def outputs(folder, case, inputs):
    model, report = getattr(transformers, case.model).from_pretrained(folder, output_loading_info=True)
    assert report["missing_keys"] <= UNUSED and not report["unexpected_keys"]
    with torch.no_grad():
        found = model.eval()(**inputs)
    return [value for value in found.to_tuple() if isinstance(value, torch.Tensor)]


@pytest.mark.parametrize("name", CLASSES)
def test_a_saved_folder_computes_the_same(name, tmp_path):
    case = CLASSES[name]
    source = write_checkpoint(tmp_path / "source", case, golden(name)["shapes"])
    load(case, source).save_pretrained(tmp_path / "saved")
    inputs = {key: torch.tensor(value) for key, value in batch(name, case)[0].items()}
    expected, found = (outputs(folder, case, inputs) for folder in (source, tmp_path / "saved"))
    assert len(found) == len(expected)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(found, expected))
