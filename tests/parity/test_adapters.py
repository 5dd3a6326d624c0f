"""LoRA adapters that PEFT wrote, added to weights while these are read, against PEFT's own merge."""

import numpy as np
import pytest
import torch
import transformers
from peft import LoraConfig, get_peft_model

from mindformers.weights.adapter import adapted
from mindformers.weights.readers import read_weights

SMALL = {"vocab_size": 24, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
GPT2 = {"n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 16}
LLAMA = {
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
BERT = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
CASES = {
    "packed and turned": (
        "GPT2LMHeadModel",
        GPT2,
        {"r": 3, "target_modules": ["c_attn", "c_proj"], "fan_in_fan_out": True},
        6,
    ),
    "grouped heads, a scale of its own, rank stabilised": (
        "LlamaForCausalLM",
        LLAMA,
        {
            "r": 2,
            "lora_alpha": 5,
            "use_rslora": True,
            "target_modules": ["q_proj", "v_proj", "down_proj"],
            "rank_pattern": {"v_proj": 4},
            "alpha_pattern": {"layers.1.self_attn.v_proj": 9},
        },
        6,
    ),
    "a new head, biases and a table": (
        "BertForSequenceClassification",
        BERT,
        {
            "r": 2,
            "target_modules": ["query", "word_embeddings"],
            "modules_to_save": ["classifier"],
            "bias": "lora_only",
        },
        7,  # two queries with their biases, the table, the head's weight and bias
    ),
}
"""What is adapted -> class, sizes, settings of the adapter, and how many weights it changes."""


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")  # of PEFT's use of transformers
@pytest.mark.parametrize("case", CASES)
def test_weights_with_an_adapter_are_those_that_peft_merges(case, tmp_path):
    name, sizes, options, num_changed = CASES[case]
    torch.manual_seed(0)
    config_class = getattr(transformers, name.split("For")[0].replace("LMHeadModel", "") + "Config")
    model = getattr(transformers, name)(config_class(**SMALL, **sizes))
    model.save_pretrained(tmp_path / "base")
    wrapped = get_peft_model(model, LoraConfig(**{"lora_alpha": 7, **options}))
    with torch.no_grad():
        for value in wrapped.parameters():
            if value.requires_grad:
                value.copy_(torch.randn_like(value))
    wrapped.save_pretrained(tmp_path / "adapter")
    weights, start = adapted(read_weights(tmp_path / "base"), tmp_path / "adapter"), read_weights(tmp_path / "base")
    merged = wrapped.merge_and_unload().state_dict()
    for key, array in weights.items():
        np.testing.assert_allclose(array, merged[key].numpy(), rtol=0, atol=1e-5, err_msg=key)
    assert sum(not np.array_equal(weights[key], start[key]) for key in start) == num_changed
