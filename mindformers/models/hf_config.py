"""What every family's configuration shares: reading and writing Hugging Face's config.json."""

from __future__ import annotations

import json
import re
from dataclasses import fields, replace
from pathlib import Path
from typing import (
    Any,
    ClassVar,
    Dict,
    List,
    Literal,
    Mapping,
    Optional,
    Tuple,
    Type,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from mindformers.arch.stacks import ACTIVATIONS, DecoderArch, EncoderArch, Head, Rotary, StackArch, arch_problem
from mindformers.errors import OutputError, UsageError, suggestion

INT8 = "int8"
"""Type of weights of a model that only writes text (nn.quantize)."""

RUN_FIELDS = frozenset(
    {
        "seq_length",
        "compute_dtype",
        "param_init_type",
        "checkpoint_name_or_path",
        "expand_ratio",
        "num_labels",
        "id2label",
        "max_decode_length",
        "repetition_penalty",
        "length_penalty",
        "max_length",
        "top_k",
        "top_p",
        "do_sample",
    }
)
"""Fields that describe a run and not the weights; they are not written into a Hugging Face config."""
OF_OUTPUTS = frozenset({"num_labels", "id2label"})
"""Those of them that a Hugging Face config says in its own way."""

UNNAMED = re.compile(r"LABEL_\d+")
"""What Hugging Face calls an output that nobody named."""

Config = TypeVar("Config", bound="HFConfig")


class HFConfig:
    """Mixin of a family's frozen dataclass, whose fields are named as in Hugging Face's config.json."""

    model_type: ClassVar[str]
    REFUSED: ClassVar[Tuple[Tuple[str, Tuple[Any, ...]], ...]] = ()
    """Keys of config.json that this family's stack cannot carry -> the values it can."""
    ACTIVATION: ClassVar[str] = "hidden_act"
    """The field that names the activation."""
    RATES: ClassVar[Tuple[str, ...]] = ()
    """Fields that are shares of dropped elements."""
    SPELLINGS: ClassVar[Mapping[str, str]] = {}
    """Other keys that config.json files of this family use -> our field."""

    def arch(self, head: Head) -> StackArch:
        """Return the stack that this configuration describes, with a head on it."""
        raise NotImplementedError

    def problem(self) -> Optional[str]:
        """Return what is wrong with the configuration, or None."""
        name = getattr(self, self.ACTIVATION, None)
        if name is not None and name not in ACTIVATIONS:
            return f"{self.ACTIVATION} is '{name}'.{suggestion(name, sorted(ACTIVATIONS))}"
        for rate in self.RATES:
            value = getattr(self, rate)
            if value is not None and not 0.0 <= value < 1.0:
                return f"{rate} is {value}; it must be at least 0 and below 1"
        return self.own_problem() or arch_problem(self.arch("none"))

    def own_problem(self) -> Optional[str]:
        """Return what is wrong by the family's own rules, or None."""
        return None

    def typed(self: Config, dtype: Optional[str], compute_dtype: Optional[str]) -> Config:
        """Return the configuration with other types of weights and activations; None leaves them.

        What a model of INT8 does not keep as int8 is bfloat16.
        """
        types = {"param_init_type": "bfloat16" if dtype == INT8 else dtype, "compute_dtype": compute_dtype}
        changed: Any = self  # every family's class is a dataclass, which this mixin is not
        return replace(changed, **{name: value for name, value in types.items() if value is not None})

    @classmethod
    def from_hf(cls: Type[Config], values: Mapping[str, Any]) -> Config:
        """Return the configuration in a config.json. Raises UsageError with everything that this stack cannot carry."""
        known = {cls.SPELLINGS.get(key, key): value for key, value in values.items()}
        problems: List[str] = []
        for key, accepted in cls.REFUSED:
            if known.get(key, accepted[0]) not in accepted:
                able = " or ".join(repr(item) for item in accepted)
                problems.append(f"{key} is {known[key]!r}; this family carries {able} alone")
        own = {item.name for item in fields(cls)}  # type: ignore[arg-type]
        names = own - RUN_FIELDS
        given = {key: value for key, value in known.items() if key in names and value is not None}
        labels = known.get("id2label")
        count = len(labels) if isinstance(labels, dict) and labels else known.get("num_labels")
        if "num_labels" in own and isinstance(count, int):
            given["num_labels"] = count
            if isinstance(labels, dict) and not all(UNNAMED.fullmatch(str(label)) for label in labels.values()):
                given["id2label"] = {str(number): str(label) for number, label in labels.items()}
        hints = get_type_hints(cls)
        misfits = [
            f"{key} is {value!r}; expected {_spelt(hints[key])}"
            for key, value in given.items()
            if not _fits(value, hints[key])
        ]
        config = None if misfits else cls(**given)
        wrong = config.problem() if config is not None else None
        problems += misfits + ([wrong] if wrong else [])
        if config is not None and not problems:
            return config
        raise UsageError("config.json: " + "\n  ".join(problems))

    def to_hf(self) -> Dict[str, Any]:
        """Return what Hugging Face's config.json holds; what is absent by default stays so: null might mean false."""
        values: Dict[str, Any] = {"model_type": self.model_type}
        for item in fields(self):  # type: ignore[arg-type]
            value = getattr(self, item.name)
            if item.name not in RUN_FIELDS and (value is not None or item.default is not None):
                values[item.name] = value
        if hasattr(self, "num_labels"):
            unnamed = {str(number): f"LABEL_{number}" for number in range(self.num_labels)}
            values["id2label"] = getattr(self, "id2label", None) or unnamed
            values["label2id"] = {label: int(number) for number, label in values["id2label"].items()}
        return values

    def save_pretrained(self, folder: Union[str, Path]) -> Path:
        """Write config.json, replacing an earlier one, and return it; fields of a run are not in it (`RUN_FIELDS`).

        Raises OutputError when the folder cannot be written.
        """
        file = Path(folder) / "config.json"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(self.to_hf(), indent=2) + "\n", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"{file}: cannot be written: {error.strerror or error}; choose another folder") from error
        return file


def _fits(value: Any, hint: Any) -> bool:
    """Say whether a value of config.json is of an annotated type; whole numbers also stand for fractions."""
    if hint is Any:
        return True
    origin = get_origin(hint)
    if origin is Union:
        return any(_fits(value, item) for item in get_args(hint))
    if origin is Literal:
        return value in get_args(hint)
    kind = origin or hint
    if kind in (int, float):
        accepted = (int, float) if kind is float else (int,)
        return isinstance(value, accepted) and not isinstance(value, bool)
    return isinstance(value, kind)


def _spelt(hint: Any) -> str:
    """Return a type as a reader knows it."""
    if get_origin(hint) in (Union, Literal):
        return " or ".join(_spelt(item) for item in get_args(hint) if item is not type(None))
    return getattr(hint, "__name__", str(hint)) if isinstance(hint, type) else str(hint).replace("typing.", "")


class EncoderConfig(HFConfig):
    """Mixin of post-norm encoders, which call their sizes alike."""

    def encoder(self, head: Head, **choices: Any) -> EncoderArch:
        """Return the encoder that the common fields describe; `choices` are what differs in a family."""
        own: Any = self  # the fields are the families'
        common = {
            "vocab_size": own.vocab_size,
            "hidden_size": own.hidden_size,
            "num_layers": own.num_hidden_layers,
            "num_heads": own.num_attention_heads,
            "intermediate_size": own.intermediate_size,
            "max_positions": own.max_position_embeddings,
            "type_vocab_size": own.type_vocab_size,
            "embedding_norm": True,
            "activation": ACTIVATIONS[own.hidden_act],
            "norm_eps": own.layer_norm_eps,
            "embedding_dropout": own.hidden_dropout_prob,
            "hidden_dropout": own.hidden_dropout_prob,
            "attention_dropout": own.attention_probs_dropout_prob,
            "init_std": own.initializer_range,
            "pad_token_id": own.pad_token_id,
            "frozen_row": own.pad_token_id,
            "head": head,
            "num_labels": own.num_labels,
            "tied_head": own.tie_word_embeddings,
        }
        return EncoderArch(**{**common, **choices})


ROPE_KINDS = {"default": "none", "none": "none", "linear": "linear", "dynamic": "dynamic", "ntk": "dynamic"}
"""What config.json files call a scaling of rotary positions -> `arch.stacks.RotaryScaling`."""


class RopeConfig(HFConfig):
    """Mixin of gated decoders with rotary positions, which call their sizes alike."""

    rope_theta: float
    rope_scaling: Optional[Dict[str, Any]]
    max_position_embeddings: int

    @classmethod
    def from_hf(cls: Type[Config], values: Mapping[str, Any]) -> Config:
        """As `HFConfig.from_hf`; `rope_parameters`, the newer spelling, also holds theta."""
        known = dict(values)
        newer = known.pop("rope_parameters", None)
        if isinstance(newer, dict):
            theta = newer.get("rope_theta")
            if theta is not None:
                known["rope_theta"] = theta
            known["rope_scaling"] = {key: value for key, value in newer.items() if key != "rope_theta"}
        scaling = known.get("rope_scaling")
        if isinstance(scaling, dict) and _rope_kind(scaling) in ("default", "none"):
            known["rope_scaling"] = None
        return super().from_hf(known)

    def own_problem(self) -> Optional[str]:
        """Return what is wrong with the scaling, or None."""
        scaling = self.rope_scaling
        if scaling is None:
            return None
        kind = _rope_kind(scaling)
        if kind not in ROPE_KINDS:
            return f"rope_scaling is '{kind}'; accepted: linear or dynamic.{suggestion(kind, sorted(ROPE_KINDS))}"
        factor = scaling.get("factor")
        if not isinstance(factor, (int, float)) or factor < 1.0:
            return f"rope_scaling.factor is {factor!r}; it must be a number of at least 1"
        return None

    def rotary(self) -> Rotary:
        """Return the rotary positions that the fields describe."""
        scaling = self.rope_scaling or {}
        kind = ROPE_KINDS.get(_rope_kind(scaling), "none")
        return Rotary(
            theta=self.rope_theta,
            scaling=kind,  # type: ignore[arg-type]
            factor=float(scaling.get("factor", 1.0)),
            trained_length=self.max_position_embeddings,
        )

    def gated_decoder(self, head: Head, **choices: Any) -> DecoderArch:
        """Return the decoder that the common fields describe, without biases; `choices` are what differs in a family.

        Touvron et al. 2023, arXiv:2302.13971, section 2.2.
        """
        own: Any = self  # the fields are the families'
        common = {
            "vocab_size": own.vocab_size,
            "hidden_size": own.hidden_size,
            "num_layers": own.num_hidden_layers,
            "num_heads": own.num_attention_heads,
            "intermediate_size": own.intermediate_size,
            "max_positions": own.max_position_embeddings,
            "positions": "rotary",
            "rotary": self.rotary(),
            "norm": "rms_norm",
            "pre_norm": True,
            "norm_eps": own.rms_norm_eps,
            "activation": ACTIVATIONS[own.hidden_act],
            "gated": True,
            "qkv_bias": False,
            "out_bias": False,
            "mlp_bias": False,
            "init_std": own.initializer_range,
            "pad_token_id": own.pad_token_id,
            "frozen_row": own.pad_token_id,
            "head": head,
            "num_labels": own.num_labels,
            "classifier": "last_token",
            "tied_head": own.tie_word_embeddings,
        }
        return DecoderArch(**{**common, **choices})


def _rope_kind(scaling: Mapping[str, Any]) -> str:
    return str(scaling.get("rope_type", scaling.get("type", "default")))
