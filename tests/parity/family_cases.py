"""Tiny models of every family and head, in odd configurations, with the batch each one sees.

Weights and batches are functions of names and seeds alone, so that a golden file need not hold them.
"""

import json
import zlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from safetensors.numpy import save_file

VOCABULARY, BATCH, LENGTH, TARGET = 61, 3, 22, 9


@dataclass(frozen=True)
class Case:
    """One model."""

    model: str
    """Class name, ours and mostly Hugging Face's."""
    config: dict = field(default_factory=dict)
    oracle: str = ""
    """Hugging Face's class where it has none of this name."""
    oracle_config: dict = field(default_factory=dict)
    """Keys of config.json that make that class compute the same."""

    @property
    def is_encoder(self):
        return self.config["model_type"] in ("bert", "roberta", "albert")


ENCODER = {
    "vocab_size": VOCABULARY,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 40,
    "max_position_embeddings": 40,
}
BERT = {"model_type": "bert", **ENCODER}
ROBERTA = {"model_type": "roberta", **ENCODER, "pad_token_id": 1, "type_vocab_size": 1}
ALBERT = {
    **ENCODER,
    "model_type": "albert",
    "embedding_size": 10,
    "num_hidden_layers": 4,
    "num_hidden_groups": 2,
    "hidden_act": "gelu_new",
}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}
GPT2 = {
    "model_type": "gpt2",
    "vocab_size": VOCABULARY,
    "n_embd": 24,
    "n_layer": 2,
    "n_head": 3,
    "n_positions": 40,
    **SPECIAL,
}
LLAMA = {
    "model_type": "llama",
    "vocab_size": VOCABULARY,
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "intermediate_size": 40,
    "max_position_embeddings": 16,
    **SPECIAL,
}
BLOOM = {"model_type": "bloom", "vocab_size": VOCABULARY, "hidden_size": 24, "n_layer": 2, "n_head": 3, **SPECIAL}
T5 = {
    "model_type": "t5",
    "vocab_size": VOCABULARY,
    "d_model": 24,
    "d_kv": 10,
    "d_ff": 40,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 3,
    "pad_token_id": 0,
    "eos_token_id": 1,
    "decoder_start_token_id": 0,
}
INTERNLM = {**LLAMA, "model_type": "internlm", "bias": True}
AQUILA = {**LLAMA, "model_type": "aquila"}
BAICHUAN = {**LLAMA, "model_type": "baichuan", "num_attention_heads": 3, "hidden_size": 30}
THREE, ONE = {"num_labels": 3}, {"num_labels": 1}


def _encoder(prefix, config):
    name = config["model_type"]
    return {
        f"{name}-base": Case(f"{prefix}Model", config),
        f"{name}-masked-lm": Case(f"{prefix}ForMaskedLM", config),
        f"{name}-sequence": Case(f"{prefix}ForSequenceClassification", {**config, **THREE}),
        f"{name}-regression": Case(f"{prefix}ForSequenceClassification", {**config, **ONE}),
        f"{name}-token": Case(f"{prefix}ForTokenClassification", {**config, **THREE}),
        f"{name}-span": Case(f"{prefix}ForQuestionAnswering", config),
    }


def _decoder(prefix, config, causal=None):
    name = config["model_type"]
    return {
        f"{name}-base": Case(f"{prefix}Model", config),
        f"{name}-causal-lm": Case(causal or f"{prefix}ForCausalLM", config),
        f"{name}-sequence": Case(f"{prefix}ForSequenceClassification", {**config, **THREE}),
        f"{name}-token": Case(f"{prefix}ForTokenClassification", {**config, **THREE}),
    }


def _as_llama(name, prefix, ending, config, **oracle_config):
    """Return a case of a family that Hugging Face carries as LLaMA with other keys."""
    same = {"model_type": "llama", "rms_norm_eps": config.get("rms_norm_eps", 1e-6), **oracle_config}
    return {name: Case(f"{prefix}{ending}", config, f"Llama{ending}", same)}


def _llama_like(prefix, config, **oracle_config):
    name = config["model_type"]
    return {
        **_as_llama(f"{name}-base", prefix, "Model", config, **oracle_config),
        **_as_llama(f"{name}-causal-lm", prefix, "ForCausalLM", config, **oracle_config),
        **_as_llama(f"{name}-sequence", prefix, "ForSequenceClassification", {**config, **THREE}, **oracle_config),
    }


CASES = {
    **_encoder("Bert", BERT),
    "bert-pre-training": Case("BertForPreTraining", BERT),
    "bert-untied-relu-eps": Case(
        "BertForMaskedLM", {**BERT, "tie_word_embeddings": False, "hidden_act": "relu", "layer_norm_eps": 1e-5}
    ),
    **_encoder("Roberta", ROBERTA),
    "roberta-one-layer-many-types": Case(
        "RobertaForMaskedLM", {**ROBERTA, "num_hidden_layers": 1, "type_vocab_size": 3}
    ),
    **_encoder("Albert", ALBERT),
    "albert-pre-training": Case("AlbertForPreTraining", ALBERT),
    "albert-one-group-gelu": Case("AlbertForMaskedLM", {**ALBERT, "num_hidden_groups": 1, "hidden_act": "gelu"}),
    **_decoder("GPT2", GPT2, causal="GPT2LMHeadModel"),
    "gpt2-untied-relu-wide": Case(
        "GPT2LMHeadModel", {**GPT2, "tie_word_embeddings": False, "n_inner": 50, "activation_function": "relu"}
    ),
    "gpt2-one-head-no-padding": Case("GPT2LMHeadModel", {**GPT2, "n_head": 1, "layer_norm_epsilon": 1e-3}),
    **_decoder("Llama", LLAMA),
    "llama-grouped-theta": Case("LlamaForCausalLM", {**LLAMA, "num_key_value_heads": 2, "rope_theta": 1e6}),
    "llama-one-kv-head-tied": Case(
        "LlamaForCausalLM",
        {**LLAMA, "num_key_value_heads": 1, "tie_word_embeddings": True, "head_dim": 6, "rms_norm_eps": 1e-5},
    ),
    "llama-linear-biases": Case(
        "LlamaForCausalLM", {**LLAMA, "attention_bias": True, "rope_scaling": {"rope_type": "linear", "factor": 2.5}}
    ),
    "llama-dynamic-mlp-bias": Case(
        "LlamaForCausalLM", {**LLAMA, "mlp_bias": True, "rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}
    ),
    **_decoder("Bloom", BLOOM),
    "bloom-five-heads-eps": Case(
        "BloomForCausalLM", {**BLOOM, "hidden_size": 30, "n_head": 5, "layer_norm_epsilon": 1e-3}
    ),
    **_llama_like("InternLM", INTERNLM, attention_bias=True),
    **_as_llama("internlm-no-bias", "InternLM", "ForCausalLM", {**INTERNLM, "bias": False}),
    **_as_llama(
        "internlm-dynamic",
        "InternLM",
        "ForCausalLM",
        {**INTERNLM, "rope_scaling": {"type": "dynamic", "factor": 3.0}},
        attention_bias=True,
    ),
    **_llama_like("Aquila", AQUILA),
    **_llama_like("Baichuan", BAICHUAN),
    **_as_llama("baichuan-alibi", "Baichuan", "ForCausalLM", {**BAICHUAN, "position_embedding": "alibi"}),
    **_as_llama(
        "baichuan-alibi-normalized",
        "Baichuan",
        "ForCausalLM",
        {**BAICHUAN, "position_embedding": "alibi", "normalized_head": True},
    ),
    **_as_llama(
        "baichuan-rotary-normalized",
        "Baichuan",
        "ForCausalLM",
        {**BAICHUAN, "num_attention_heads": 5, "normalized_head": True},
    ),
    "t5-base": Case("T5Model", T5),
    "t5-seq2seq": Case("T5ForConditionalGeneration", T5),
    "t5-gated-unscaled": Case(
        "T5ForConditionalGeneration",
        {**T5, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "relative_attention_num_buckets": 8},
    ),
    "t5-few-buckets-gated-silu": Case(
        "T5ForConditionalGeneration",
        {
            **T5,
            "feed_forward_proj": "gated-silu",
            "relative_attention_num_buckets": 10,
            "relative_attention_max_distance": 9,
            "num_decoder_layers": 1,
        },
    ),
}


def generator(*names):
    return np.random.Generator(np.random.PCG64([7, *(zlib.crc32(name.encode()) for name in names)]))


def tensor(name, shape):
    """Return the weights of a name: gains around 1, everything else around 0."""
    values = generator(name).standard_normal(shape).astype(np.float32) * np.float32(0.2)
    return values + np.float32("norm" in name.lower() and name.endswith("weight") or ".ln_" in name)


def batch(name, case):
    """Return inputs and targets, int64 or float32; padding stands right in row 1 and, in decoders, left in row 2."""
    random = generator("batch", name)
    ids = random.integers(4, VOCABULARY, (BATCH, LENGTH))
    mask = np.ones((BATCH, LENGTH), np.int64)
    mask[1, 15:] = 0
    ids[1, 15:] = case.config.get("pad_token_id", 0)
    if not case.is_encoder:
        mask[2, :5] = 0
    inputs = {"input_ids": ids, "attention_mask": mask}
    if case.config["model_type"] in ("bert", "albert"):
        inputs["token_type_ids"] = random.integers(0, 2, (BATCH, LENGTH))
    targets = {}
    if case.model.endswith(("ForMaskedLM", "ForPreTraining", "ForCausalLM", "LMHeadModel", "ForTokenClassification")):
        labels = random.integers(0, case.config.get("num_labels", VOCABULARY), (BATCH, LENGTH))
        labels[mask == 0] = -100
        labels[2, 5] = -100  # its logits come from a position of padding, where the two sides differ
        targets["labels"] = labels
        if case.model.endswith("ForPreTraining"):
            targets["sentence_labels"] = random.integers(0, 2, BATCH)
    elif case.model.endswith("ForSequenceClassification"):
        count = case.config["num_labels"]
        targets["labels"] = (
            random.integers(0, count, BATCH) if count > 1 else random.standard_normal(BATCH).astype(np.float32)
        )
    elif case.model.endswith("ForQuestionAnswering"):
        targets = {key: random.integers(0, 15, BATCH) for key in ("start_positions", "end_positions")}
    if case.config["model_type"] == "t5":
        labels = random.integers(1, VOCABULARY, (BATCH, TARGET))
        start = np.zeros((BATCH, 1), np.int64)
        labels[1, 6:] = -100
        inputs["decoder_input_ids"] = np.concatenate([start, np.where(labels == -100, 0, labels)[:, :-1]], 1)
        targets = {} if case.model == "T5Model" else {"labels": labels}
    return inputs, targets


def counted(case, inputs):
    """Return the positions whose outputs mean something, bool [batch, length]."""
    if "decoder_input_ids" in inputs:
        return np.ones((BATCH, TARGET), bool)
    return inputs["attention_mask"] == 1


def write_checkpoint(folder: Path, case, shapes):
    """Write what Hugging Face would have saved."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**case.config, "architectures": [case.model]}
    (folder / "config.json").write_text(json.dumps(config))
    save_file({name: tensor(name, shape) for name, shape in shapes.items()}, str(folder / "model.safetensors"))
    return folder
