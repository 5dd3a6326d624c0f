"""What an adapter's folder may hold, and what is said about one that does not fit."""

import json

import numpy as np
import pytest

from mindformers.errors import CheckpointError, UsageError
from mindformers.weights.adapter import adapted
from mindformers.weights.readers import read_weights
from mindformers.weights.writers import save_safetensors

A = np.arange(6, dtype=np.float32).reshape(2, 3)
B = np.arange(8, dtype=np.float32).reshape(4, 2)
WEIGHT = np.ones((4, 3), np.float16)
Q = "base_model.model.transformer.h.0.q"


def write(folder, tensors, **settings):
    folder.mkdir(exist_ok=True)
    save_safetensors(folder / "adapter_model.safetensors", tensors)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "lora_alpha": 4, **settings}))
    return folder


@pytest.fixture
def weights(tmp_path):
    save_safetensors(tmp_path / "model.safetensors", {"h.0.q.weight": WEIGHT})
    return read_weights(tmp_path / "model.safetensors")


def test_the_product_of_the_factors_is_added_scaled(weights, tmp_path):
    folder = write(tmp_path / "adapter", {f"{Q}.lora_A.weight": A, f"{Q}.lora_B.default.weight": B})
    array = adapted(weights, folder)["h.0.q.weight"]  # without the prefix of the model with a head
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, 1 + 2 * (B @ A))


@pytest.mark.parametrize(
    "tensors, settings, message",
    [
        ({f"{Q}.lora_A.weight": A}, {}, "one of the two factors is missing"),
        ({f"{Q}.lora_A.weight": A, f"{Q}.lora_B.weight": B[:3]}, {}, r"change a weight \(3, 3\).* is \(4, 3\)"),
        ({f"{Q}.lora_A.weight": A, f"{Q}.lora_B.weight": B}, {"fan_in_fan_out": True}, r"change a weight \(3, 4\)"),
        ({f"{Q}2.lora_A.weight": A, f"{Q}2.lora_B.weight": B}, {}, "the weights have no transformer.h.0.q2.weight"),
        ({"base_model.model.score.weight": A}, {}, "the weights have no score.weight"),
        ({"base_model.model.transformer.h.0.q.weight": A}, {}, r"is \(2, 3\), h.0.q.weight is \(4, 3\)"),
        ({f"{Q}.lora_magnitude_vector": A}, {}, "a kind of factor that cannot be added"),
    ],
)
def test_an_adapter_of_another_model_is_refused(weights, tmp_path, tensors, settings, message):
    with pytest.raises(CheckpointError, match=message):
        adapted(weights, write(tmp_path / "adapter", tensors, **settings))


def test_a_folder_without_such_an_adapter_is_refused(weights, tmp_path):
    with pytest.raises(UsageError, match="no adapter, adapter_config.json cannot be read"):
        adapted(weights, tmp_path)
    with pytest.raises(UsageError, match="peft_type is 'IA3'; accepted: LORA"):
        adapted(weights, write(tmp_path / "other", {"x": A}, peft_type="IA3"))
    with pytest.raises(UsageError, match="LORA with use_dora"):
        adapted(weights, write(tmp_path / "dora", {"x": A}, use_dora=True))
    (tmp_path / "dora" / "adapter_config.json").write_text('{"peft_type": "LORA"}')
    (tmp_path / "dora" / "adapter_model.safetensors").unlink()
    with pytest.raises(UsageError, match="neither adapter_model.safetensors nor adapter_model.bin"):
        adapted(weights, tmp_path / "dora")
