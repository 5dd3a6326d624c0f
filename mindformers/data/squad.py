"""Reader of SQuAD files: answers are spans of a context.

In v1.1 (Rajpurkar et al. 2016, arXiv:1606.05250) every question has an answer; in v2.0 (Rajpurkar et al. 2018,
arXiv:1806.03822) some have none.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, NamedTuple, Optional, Set, Tuple, Union

from mindformers.data.cache import file_digest
from mindformers.data.rows import Rejection, Rejections, Row, log_rejections, unreadable
from mindformers.errors import DataError, UsageError, counted

SPLITS = ("train", "dev")
VERSIONS = {False: "v1.1", True: "v2.0"}
"""Whether a question may have no answer -> the version of the format."""
KIND_NAMES = {str: "text", list: "a list", dict: "an object", int: "a whole number"}


@dataclass(frozen=True)
class Example:
    """One question on one context."""

    id: str
    question: str
    context: str
    answers: Tuple[Tuple[str, int], ...] = ()
    """(text, first character in `context`) of every accepted answer; none when the context does not tell."""


class SquadRows(NamedTuple):
    """What a file gave."""

    examples: List[Example]
    rejected: List[Rejection]


def squad_file(path: Union[str, Path], split: str, unanswerable: bool = False) -> Path:
    """Return the file of a split: `path` itself when it is a file, else the official name in the folder `path`.

    Raises DataError when the folder or the file does not exist, or `split` is not "train" or "dev".
    """
    if split not in SPLITS:
        raise DataError(f"{path}: unknown SQuAD split {split!r}; accepted are {' and '.join(map(repr, SPLITS))}")
    version = VERSIONS[unanswerable]
    place = Path(path)
    if place.is_file():
        return place
    if not place.exists():
        kind = "file" if place.suffix == ".json" else "folder"
        raise DataError(
            f"{place}: no such {kind}; the SQuAD dataset must be a folder with train-{version}.json and "
            f"dev-{version}.json, or one .json file of that format"
        )
    file = place / f"{split}-{version}.json"
    if not file.is_file():
        present = sorted(item.name for item in place.iterdir())[:10] if place.is_dir() else []
        raise DataError(
            f"{file}: no such file; the folder holds {', '.join(present) or 'nothing'}. Put the SQuAD {version} "
            f"{split} file there under this name, or give the path of the .json file itself"
        )
    return file


def read_squad(path: Union[str, Path], split: str, unanswerable: bool = False) -> SquadRows:
    """Read a split and check every row; rejected rows are returned, counted and logged.

    A row with an empty text is rejected. So is one without answers, unless questions may be `unanswerable`, and always
    one whose `is_impossible` contradicts its answers. Of "train", a row is also rejected when an answer does not stand
    at its `answer_start`; of "dev", a question is scored against answer texts, so that is only logged, but an id that
    was seen before is rejected.
    Raises DataError when the file is missing, is no SQuAD file, or when too many rows are rejected.
    """
    file = squad_file(path, split, unanswerable)
    examples: List[Example] = []
    rejected = Rejections(str(file), "question")
    misplaced: List[Rejection] = []
    seen: Set[str] = set()
    for title, example, impossible in rows_of(file, load_json(file)):
        problem = check_texts(example) or check_answers(example, impossible, unanswerable)
        misplacement = check_places(example)
        if problem or misplacement and split == "train":
            rejected.add(place_of(example, title), problem or misplacement)
        elif split == "dev" and example.id in seen:
            rejected.add(place_of(example, title), "the id occurs twice, but predictions are kept by id")
        else:
            if misplacement:
                misplaced.append(Rejection(place_of(example, title), misplacement))
            examples.append(example)
        seen.add(example.id)
    rejected.close(len(rejected) + len(examples), accepted=f"Give a SQuAD {VERSIONS[unanswerable]} {split} file")
    log_rejections(
        f"{file}: {counted(len(misplaced), 'question')} kept although an answer is misplaced; scoring compares texts",
        misplaced,
    )
    return SquadRows(examples, rejected.rows)


@dataclass(frozen=True)
class SQuADDataLoader:
    """Questions of one split, as a dataset section names them; the first `num_samples` of them, or all."""

    dataset_dir: Union[str, Path]
    """Folder with the official file names, or one file."""
    stage: str = "train"
    num_samples: Optional[int] = None
    version_2_with_negative: bool = False
    """Whether the files are SQuAD v2.0, in which a question may have no answer."""

    def __post_init__(self):
        if self.num_samples is not None and self.num_samples < 1:
            raise UsageError(f"num_samples={self.num_samples}: it must be at least 1, or absent for all")

    def examples(self) -> List[Example]:
        """Return the usable questions. Raises DataError when there are none."""
        rows = read_squad(self.dataset_dir, self.stage, self.version_2_with_negative)
        return rows.examples[: self.num_samples]

    def identity(self) -> Dict[str, object]:
        """Return what decides the content, for the key of a cache."""
        return {
            "file": file_digest(squad_file(self.dataset_dir, self.stage, self.version_2_with_negative)),
            "split": self.stage,
            "num_samples": self.num_samples,
        }


def examples_from(rows: Iterable[object], split: str = "train", unanswerable: bool = False) -> List[Example]:
    """Return rows of a user's own dataset, `Example`s or mappings with id, question, context, answers, as examples.

    `answers` is a list of {"text", "answer_start"} or of (text, start). Raises DataError that names the row,
    also for one that `read_squad` would reject.
    """
    examples = []
    for number, example in enumerate(_examples_of(rows)):
        problem = check_texts(example) or check_answers(example, None, unanswerable)
        if not problem and split == "train":
            problem = check_places(example)
        if problem:
            raise DataError(f"row {number} of the dataset: {problem}")
        examples.append(example)
    return examples


def _examples_of(rows: Iterable[object]) -> Iterator[Example]:
    for number, row in enumerate(rows):
        if isinstance(row, Example):
            yield row
            continue
        try:
            answers = tuple(
                (item["text"], item["answer_start"]) if isinstance(item, dict) else tuple(item)
                for item in row.get("answers", ())
            )
            yield Example(str(row.get("id", number)), row["question"], row["context"], answers)
        except (AttributeError, KeyError, TypeError) as error:
            raise DataError(
                f"row {number} of the dataset is no question-answering row ({error!r}); it needs question, "
                "context and answers, each answer with text and answer_start"
            ) from error


def load_json(file: Path) -> Dict[str, object]:
    """Return the content of a JSON file that holds an object. Raises DataError."""
    try:
        raw = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: not readable ({error})") from error
    if not raw.strip():
        raise DataError(f"{file}: the file is empty; it must be a SQuAD JSON file")
    try:
        content = json.loads(raw.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text ({error}); it must be a SQuAD JSON file") from error
    except json.JSONDecodeError as error:
        raise DataError(
            f"{file}:{error.lineno}: not JSON ({error.msg}); the file may be cut off. It must be a SQuAD JSON file"
        ) from error
    if not isinstance(content, dict):
        raise DataError(f"{file}: no SQuAD file: the top is {kind_of(content)}, it must be an object with 'data'")
    return content


def rows_of(file: Path, content: Dict[str, object]):
    """Yield (title, Example, its `is_impossible` or None) for every question.

    Raises DataError naming the first key that is missing or wrong.
    """
    for number, article in enumerate(take(file, content, "data", list, "the top")):
        place = f"data[{number}]"
        paragraphs = take(file, article, "paragraphs", list, place)
        title = str(article.get("title", place))
        for paragraph_number, paragraph in enumerate(paragraphs):
            inner = f"{place}.paragraphs[{paragraph_number}]"
            context = take(file, paragraph, "context", str, inner)
            for row_number, row in enumerate(take(file, paragraph, "qas", list, inner)):
                example = row_of(file, row, context, f"{inner}.qas[{row_number}]")
                yield title, example, row.get("is_impossible")


def row_of(file: Path, row: Dict[str, object], context: str, place: str) -> Example:
    """Return one question; an absent 'answers' is an empty one."""
    question = take(file, row, "question", str, place)
    identity = take(file, row, "id", str, place)
    answers = []
    for number, answer in enumerate(take(file, row, "answers", list, place) if "answers" in row else ()):
        inner = f"{place}.answers[{number}]"
        answers.append((take(file, answer, "text", str, inner), take(file, answer, "answer_start", int, inner)))
    return Example(identity, question, context, tuple(answers))


def take(file: Path, holder: object, key: str, kind: type, place: str):
    """Return `holder[key]` when it is of the wanted kind. Raises DataError saying what is missing at which place."""
    if not isinstance(holder, dict):
        raise DataError(f"{file}: no SQuAD file: {place} is {kind_of(holder)}, it must be an object with '{key}'")
    if key not in holder:
        present = ", ".join(repr(name) for name in list(holder)[:8]) or "nothing"
        raise DataError(f"{file}: no SQuAD file: key '{key}' is missing at {place}, which holds {present}")
    value = holder[key]
    if not isinstance(value, kind) or isinstance(value, bool):
        raise DataError(f"{file}: no SQuAD file: {place}.{key} is {kind_of(value)}, it must be {KIND_NAMES[kind]}")
    return value


def kind_of(value: object) -> str:
    """Return the kind of a JSON value in words."""
    if value is None:
        return "null"
    return KIND_NAMES.get(type(value), f"a {type(value).__name__}")


def place_of(example: Example, title: str) -> str:
    """Return what a question is called in messages."""
    return f"question {example.id!r} of {title!r}"


def check_texts(example: Example) -> str:
    """Return which of the texts cannot be used, and why, or ""."""
    texts = {"context": example.context, "question": example.question}
    for name, text in texts.items():
        if not isinstance(text, str):
            return f"the {name} is {text!r}, it must be text"
        if not text.strip():
            return f"the {name} is empty"
    return unreadable(Row(example.id, texts))


def check_answers(example: Example, impossible: Optional[bool], unanswerable: bool) -> str:
    """Return what is wrong with the number of answers, given the row's `is_impossible`, or ""."""
    if not example.answers and not unanswerable:
        return "it has no answers, which SQuAD v1.1 requires; SQuAD v2.0 files need version_2_with_negative: true"
    if impossible is not None and bool(impossible) == bool(example.answers):
        return f"is_impossible is {str(impossible).lower()}, but it has {counted(len(example.answers), 'answer')}"
    return ""


def check_places(example: Example) -> str:
    """Return which answer does not stand in the context where the row says, or ""."""
    for text, start in example.answers:
        if not text.strip():
            return f"an answer is blank ({text!r})"
        found = example.context[start : start + len(text)] if start >= 0 else ""
        if found != text:
            actual = example.context.find(text)
            hint = f"it stands at {actual}" if actual >= 0 else "it stands nowhere in the context"
            return f"the answer {text!r} is not at character {start}, where {found!r} stands; {hint}"
    return ""
