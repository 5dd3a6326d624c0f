"""What PyTorch computes for a case: outputs, loss and the gradient of every tensor of the file.

Some families have no class in transformers and are its LLaMA with other keys (`Case.oracle`). Baichuan also packs
three matrices into one, and its ALiBi bias is given as a mask with every position 0, which rotates nothing.
"""

import numpy as np
import torch
import transformers
from torch.func import functional_call

from tests.parity.family_cases import batch, tensor

OUTPUTS = (
    *("logits", "start_logits", "end_logits", "last_hidden_state", "pooler_output"),
    *("prediction_logits", "seq_relationship_logits", "sop_logits"),
)
THEIR_NAMES = {
    ("bert", "sentence_labels"): "next_sentence_label",
    ("albert", "sentence_labels"): "sentence_order_label",
}


def build(case):
    """Return the PyTorch model and the shapes of the tensors in a file of it."""
    kind, config = case.config["model_type"], {**case.config, **case.oracle_config}
    name = case.oracle or case.model
    config_class = getattr(transformers, name.split("For")[0].replace("Model", "").replace("LMHead", "") + "Config")
    model = getattr(transformers, name)(config_class(**config, attn_implementation="eager")).eval()
    if kind == "t5" and not config.get("tie_word_embeddings", True):
        # As the published T5 1.1 files are; transformers 5 ties both tables unless the file says otherwise.
        model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.detach().clone())
    shapes = {key: tuple(value.shape) for key, value in model.named_parameters()}
    if kind == "baichuan":
        shapes = dict(_packed(shapes))
    return model, shapes


def _packed(shapes):
    for key, shape in shapes.items():
        if ".q_proj." in key:
            yield key.replace("q_proj", "W_pack"), (3 * shape[0], *shape[1:])
        elif ".k_proj." not in key and ".v_proj." not in key:
            yield key, shape


def _unpacked(case, leaves):
    """Return the tensors as the PyTorch model names them."""
    if case.config["model_type"] != "baichuan":
        return leaves
    found = {}
    for key, leaf in leaves.items():
        if "W_pack" in key:
            for part, rows in zip(("q_proj", "k_proj", "v_proj"), leaf.chunk(3)):
                found[key.replace("W_pack", part)] = rows
        elif key == "lm_head.weight" and case.config.get("normalized_head"):
            found[key] = torch.nn.functional.normalize(leaf)
        else:
            found[key] = leaf
    return found


def _alibi(inputs, num_heads):
    """Return mask and positions that turn rotary attention into ALiBi, by its definition with distances."""
    mask = torch.tensor(inputs["attention_mask"])
    length = mask.shape[1]
    closest = 2 ** int(np.floor(np.log2(num_heads)))
    slopes = [2 ** (-8 * (i + 1) / closest) for i in range(closest)]
    slopes += [2 ** (-4 * (2 * i + 1) / closest) for i in range(num_heads - closest)]
    distance = torch.arange(length)[:, None] - torch.arange(length)[None, :]
    bias = -torch.tensor(slopes, dtype=torch.float32)[:, None, None] * distance.clamp(min=0)
    hidden = (distance < 0)[None, None] | (mask == 0)[:, None, None, :]
    least = torch.finfo(torch.float32).min
    return torch.where(hidden, torch.tensor(least), bias[None]), torch.zeros((1, length), dtype=torch.long)


def expected(name, case):
    """Return {"outputs": [arrays], "loss": float or None, "gradients": {name in the file: array}}."""
    model, shapes = build(case)
    kind = case.config["model_type"]
    inputs, targets = batch(name, case)
    leaves = {key: torch.tensor(tensor(key, shape), requires_grad=True) for key, shape in shapes.items()}
    arguments = {THEIR_NAMES.get((kind, key), key): torch.tensor(value) for key, value in {**inputs, **targets}.items()}
    if case.config.get("position_embedding") == "alibi":
        bias, positions = _alibi(inputs, case.config["num_attention_heads"])
        arguments = {**arguments, "attention_mask": bias, "position_ids": positions}
    output = functional_call(model, _unpacked(case, leaves), (), arguments)
    outputs = [getattr(output, item) for item in OUTPUTS if getattr(output, item, None) is not None]
    loss = getattr(output, "loss", None)
    gradients = {}
    if loss is not None:
        loss.backward()
        gradients = {key: leaf.grad.numpy() for key, leaf in leaves.items() if leaf.grad is not None}
    return {
        "outputs": [value.detach().numpy() for value in outputs],
        "loss": None if loss is None else loss.item(),
        "gradients": gradients,
        "shapes": shapes,
    }
