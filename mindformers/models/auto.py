"""Auto classes: the family is read from config.json or a YAML file, the head from the class that is asked.

A source is a folder with config.json, a checkpoint of a run, a YAML file (a run file or a model_config file), the name
of a shipped size or run (``bert_base_uncased``), or a model of the hub (``owner/name``). MindSpore is imported when a
model is built.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Dict, List, Mapping, Optional, Union

from mindformers.catalog import FAMILIES, REGISTRY
from mindformers.config.model_files import OF_A_RUN, YAML_ENDINGS, DescribedModel, read_model, yaml_file
from mindformers.errors import UsageError
from mindformers.registry import MindFormerModuleType, load_object
from mindformers.weights.find import find_description, find_local, find_weights
from mindformers.weights.folder import CONFIG, config_from_hf, read_config

if TYPE_CHECKING:
    from mindformers.models.processor import TextProcessor

Source = Union[str, Path]


class Supported:
    """Mixin that says which families there are."""

    suffix: ClassVar[str] = ""

    @classmethod
    def get_support_list(cls) -> List[str]:
        """Return the families that this class serves."""
        return [name for name, family in FAMILIES.items() if cls.suffix in family.classes]

    @classmethod
    def show_support_list(cls) -> None:
        """Print the families that this class serves."""
        print(f"{cls.__name__}: {', '.join(cls.get_support_list())}")


class AutoConfig(Supported):
    """The configuration of any family."""

    @staticmethod
    def from_pretrained(source: Source, revision: Optional[str] = None) -> Any:
        """Return the configuration of a source; `revision` is a branch, tag or commit of the hub.

        Raises CheckpointError or UnknownNameError when there is none, ConfigError for a YAML file with mistakes.
        """
        described = _described(source)
        if described is not None:
            return described.config
        return AutoConfig.from_hf(read_config(find_description(str(source), revision)))

    @staticmethod
    def from_config(source: Source) -> Any:
        """Return the configuration in a YAML file, or under the name of a shipped size or run."""
        return _from_yaml(source).config

    @staticmethod
    def from_hf(values: Mapping[str, Any]) -> Any:
        """Return the configuration that the content of a config.json describes."""
        return config_from_hf(values)


class AutoModel(Supported):
    """The base model of any family."""

    @classmethod
    def from_pretrained(
        cls,
        source: Source,
        new_head: bool = False,
        revision: Optional[str] = None,
        adapter: Optional[Source] = None,
        dtype: Optional[str] = None,
        compute_dtype: Optional[str] = None,
    ) -> Any:
        """Return the model of a source with its weights; of a YAML file, with the weights that the file names.

        `AutoModel` itself makes the class that a YAML file names, if it names one. `new_head` lets a head that the
        weights do not have start fresh; `adapter` is a folder whose LoRA is added to the weights. `dtype` and
        `compute_dtype` as of a family's class; by default float32, or what the YAML file says. Raises CheckpointError
        with all mismatches, UsageError when the YAML file names no weights.
        """
        types = {"dtype": dtype, "compute_dtype": compute_dtype}
        given = {name: value for name, value in types.items() if value is not None}
        described = _described(source)
        if described is None:
            folder = find_weights(str(source), revision)
        elif described.weights is not None:
            folder = find_weights(described.weights, revision)
        else:
            raise UsageError(
                f"{cls.__name__}.from_pretrained({str(source)!r}): {described.file} names no weights in "
                f"model.model_config.checkpoint_name_or_path; {cls.__name__}.from_config(...) makes a fresh model"
            )
        if described is None:
            model_class = cls._class_for(AutoConfig.from_hf(read_config(folder)))
            return model_class.from_pretrained(folder, new_head, adapter=adapter, **given)
        model_class = cls._class_of(described)
        if _is_named(source) and _holds_config(folder):
            return model_class.from_pretrained(folder, new_head, adapter=adapter, **given)
        model = model_class(described.config.typed(dtype, compute_dtype))
        return model.filled(folder, new_head, adapter, dtype)

    @classmethod
    def from_config(cls, config: Any) -> Any:
        """Return the freshly initialised model of a configuration, or of a YAML file or name that describes one."""
        if isinstance(config, (str, Path)):
            described = _from_yaml(config)
            return cls._class_of(described)(described.config)
        if getattr(config, "model_type", None) not in FAMILIES:
            raise UsageError(
                f"{cls.__name__}.from_config takes a configuration of a family, a YAML file or the name of a size; "
                f"it got {type(config).__name__}"
            )
        return cls._class_for(config)(config)

    @classmethod
    def _class_of(cls, described: DescribedModel) -> Any:
        """Return the class with this class's head; for `AutoModel`, the one that a YAML file names."""
        if cls.suffix == "" and described.class_name is not None:
            return REGISTRY.resolve(MindFormerModuleType.MODELS, described.class_name)
        return cls._class_for(described.config)

    @classmethod
    def _class_for(cls, config: Any) -> Any:
        return load_object(f"{FAMILIES[config.model_type].package}.model:{class_name(config, cls.suffix)}")


class AutoModelForCausalLM(AutoModel):
    """The next-token model of any family."""

    suffix = "ForCausalLM"


class AutoModelForPreTraining(AutoModel):
    """The model of masked tokens and sentence pairs of the families that were trained with both."""

    suffix = "ForPreTraining"


class AutoModelForMaskedLM(AutoModel):
    """The masked-token model of any family."""

    suffix = "ForMaskedLM"


class AutoModelForSequenceClassification(AutoModel):
    """The text classifier of any family."""

    suffix = "ForSequenceClassification"


class AutoModelForTokenClassification(AutoModel):
    """The token classifier of any family."""

    suffix = "ForTokenClassification"


class AutoModelForSeq2SeqLM(AutoModel):
    """The text-to-text model of any family."""

    suffix = "ForSeq2SeqLM"


class AutoModelForQuestionAnswering(AutoModel):
    """The question-answering model of any family."""

    suffix = "ForQuestionAnswering"


class AutoProcessor(Supported):
    """What turns texts into the input of a model of any family."""

    @staticmethod
    def from_pretrained(source: Source, revision: Optional[str] = None, **options: Any) -> TextProcessor:
        """Return the processor with the tokenizer of a source; `options` are those of `TextProcessor`.

        A YAML file's own `processor` section comes below the `options`.
        """
        from mindformers.models.processor import TextProcessor
        from mindformers.tokenizers.auto import AutoTokenizer

        described = _described(source)
        if described is None:
            return TextProcessor(AutoTokenizer.from_pretrained(find_description(str(source), revision)), **options)
        return TextProcessor(_tokenizer(described, revision), **{**described.processor, **options})

    @staticmethod
    def from_config(source: Source, **options: Any) -> TextProcessor:
        """Return the processor that a YAML file, or the name of a shipped size or run, describes."""
        from mindformers.models.processor import TextProcessor

        described = _from_yaml(source)
        return TextProcessor(_tokenizer(described, None), **{**described.processor, **options})


def class_name(config: Any, suffix: str) -> str:
    """Return a family's class name for a head, e.g. suffix ``ForMaskedLM``. Raises UsageError when it has none."""
    classes = FAMILIES[config.model_type].classes
    if suffix not in classes:
        able = ", ".join(name for name, family in FAMILIES.items() if suffix in family.classes)
        raise UsageError(f"{config.model_type} has no model {suffix or 'without a head'}; these have one: {able}")
    return classes[suffix]


def _described(source: Source) -> Optional[DescribedModel]:
    """Return what a YAML file says; None where a config.json or the hub has to be read.

    What lies on disk under a name (a path, or a folder of `weights.find.DOWNLOADS`) comes before the shipped size. A
    checkpoint of a run has its own YAML file beside its weights.
    """
    place = find_local(str(source)) if _is_named(source) else None
    if place is not None:
        folder = place if place.is_dir() else place.parent
        if (folder / CONFIG).is_file():
            return None
        if (folder / OF_A_RUN).is_file():
            return replace(read_model(folder / OF_A_RUN), weights=str(place))
    file = yaml_file(str(source))
    return None if file is None else read_model(file)


def _from_yaml(source: Source) -> DescribedModel:
    file = yaml_file(str(source))
    if file is None:
        raise UsageError(
            f"from_config({str(source)!r}): give a YAML file, or a name of 'mindformers list models --params'"
        )
    return read_model(file)


def _is_named(source: Source) -> bool:
    return Path(source).suffix not in YAML_ENDINGS


def _holds_config(place: Path) -> bool:
    return ((place if place.is_dir() else place.parent) / CONFIG).is_file()


def _tokenizer(described: DescribedModel, revision: Optional[str]) -> Any:
    """Return the tokenizer of a YAML file's `processor` or datasets, else the one beside the weights it names."""
    from mindformers.tokenizers.auto import AutoTokenizer
    from mindformers.tokenizers.find import find_tokenizer

    run = described.run
    sections: List[Any] = [run.processor, run.train_dataset, run.eval_dataset]
    section = next((item.tokenizer for item in sections if item is not None and item.tokenizer is not None), None)
    options: Dict[str, Any] = section.arguments() if section is not None else {}
    named = options.get("checkpoint_name_or_path") or described.weights
    beside = find_description(named, revision) if named and not options.get("vocab_file") else None
    if section is not None:
        return find_tokenizer(section, beside)
    if beside is None:
        raise UsageError(
            f"{described.file}: names no tokenizer; set processor.tokenizer with a vocab_file, or "
            "model.model_config.checkpoint_name_or_path to a folder that holds tokenizer and weights"
        )
    return AutoTokenizer.from_pretrained(beside)
