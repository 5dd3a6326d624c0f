"""A small question-answering corpus in the layout of SQuAD v1.1, composed by rules: people, cities, jobs and numbers.

A model that starts from random weights learns it within minutes, but not by heart: sentences, questions, names, cities
and jobs of the dev split never occur in train, so an answer has to be found by its context. Names of train are composed
of syllables, words of English among them refused; those of dev are real ones.
"""

from __future__ import annotations

import json
import random
import re
import string
from collections import Counter
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any, Dict, FrozenSet, Iterator, List, Optional, Tuple, Union

from mindformers.data import corpus_words as words
from mindformers.data.corpus_words import Lines, Wording
from mindformers.errors import OutputError, UsageError, listing

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CITY_KINDS = ("home", "work", "birth")
CONTEXTS_PER_ARTICLE = 50
NUM_NAMES = 16000
"""Names, and half as many cities, that are composed for train."""

LONGEST_CONTEXT = 100
"""Characters; longer stories are told anew, so that nearly every row fits into one narrow window."""

FREQUENT = 30
"""Occurrences that make a word a piece of its own."""

_FORM = re.compile(r"<(\w+)\|(\w+)>")
_SLOT = re.compile(r"\{\w+\}")


@dataclass(frozen=True)
class Lexicon:
    """The names and values that one split may use."""

    people: Tuple[Tuple[str, str], ...]
    """Name and pronoun."""
    cities: Lines
    jobs: Lines


@dataclass(frozen=True)
class CorpusReport:
    """What was written."""

    folder: Path
    train_questions: int
    dev_questions: int
    vocabulary: int

    def __str__(self) -> str:
        return (
            f"{self.folder}: {self.train_questions} training and {self.dev_questions} evaluation questions, "
            f"{self.vocabulary} word pieces"
        )


@dataclass(frozen=True)
class Story:
    """A context and what can be asked about it."""

    context: str
    questions: Tuple[Tuple[str, str, int], ...]
    """(question, answer, its first character in the context)."""


def write_corpus(
    folder: Union[str, Path],
    *,
    seed: int = 0,
    train_questions: int = 24000,
    dev_questions: int = 1000,
    vocabulary: int = 2000,
    overwrite: bool = False,
) -> CorpusReport:
    """Write train-v1.1.json, dev-v1.1.json and vocab.txt into `folder`; the same arguments give the same bytes.

    Raises UsageError for less than one question, OutputError when the folder holds other content under these names and
    `overwrite` is false, or cannot be written.
    """
    if min(train_questions, dev_questions) < 1:
        raise UsageError(
            f"{train_questions} training and {dev_questions} evaluation questions; both must be at least 1"
        )
    rng = random.Random(seed)
    train = compose("train", rng, words.TRAIN, composed_lexicon(rng), train_questions)
    dev = compose("dev", rng, words.DEV, dev_lexicon(), dev_questions)
    pieces = learn_vocabulary(texts_of(train), vocabulary)
    files = {
        "train-v1.1.json": json.dumps(train, ensure_ascii=False) + "\n",
        "dev-v1.1.json": json.dumps(dev, ensure_ascii=False) + "\n",
        "vocab.txt": "".join(f"{piece}\n" for piece in pieces),
    }
    target = Path(folder)
    try:
        held = {name: (target / name).read_text(encoding="utf-8") for name in files if (target / name).exists()}
        different = [name for name, text in held.items() if text != files[name]]
        if different and not overwrite:
            raise OutputError(
                listing(f"{target} holds other files of these names; overwrite them or choose a folder:", different)
            )
        target.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            if held.get(name) != text:
                (target / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror or error}") from error
    return CorpusReport(target, train_questions, dev_questions, len(pieces))


def compose(split: str, rng: random.Random, wording: Wording, lexicon: Lexicon, num_questions: int) -> Dict[str, Any]:
    """Return one split in SQuAD's layout."""
    data: List[Dict[str, Any]] = []
    written = contexts = 0
    while written < num_questions:
        story = tell(rng, wording, lexicon)
        if len(story.context) > LONGEST_CONTEXT:
            continue
        if contexts % CONTEXTS_PER_ARTICLE == 0:
            data.append({"title": f"{split.capitalize()} {len(data) + 1}", "paragraphs": []})
        asked = story.questions[: num_questions - written]
        entries = [
            {
                "id": f"{split}-{written + index:06d}",
                "question": question,
                "answers": [{"text": text, "answer_start": start}],
            }
            for index, (question, text, start) in enumerate(asked)
        ]
        data[-1]["paragraphs"].append({"context": story.context, "qas": entries})
        written += len(asked)
        contexts += 1
    return {"version": "1.1", "data": data}


def tell(rng: random.Random, wording: Wording, lexicon: Lexicon) -> Story:
    """Compose a context about one person, perhaps the speaker, with one to three facts and up to two fillers."""
    name, pronoun = rng.choice(lexicon.people)
    speaks = rng.random() < 0.45
    frames = [rng.choice(wording.introductions if speaks else wording.frames)]
    if rng.random() < 0.05:
        frames.append(rng.choice(("I {0}.", "I {0}, and I {1}.") if speaks else ("{s} {0}.", "{s} {0} and {1}.")))
    places = sum(frame.count("{0}") + frame.count("{1}") for frame in frames)
    kinds = rng.sample(sorted(wording.phrases), places)
    cities = iter(rng.sample(lexicon.cities, 8))
    facts: List[Tuple[str, str, str]] = []
    for kind in kinds:
        item = rng.choice(words.ITEMS)
        if kind in CITY_KINDS:
            value = next(cities)
        else:
            value = rng.choice(lexicon.jobs) if kind == "job" else str(rng.randint(2, 99))
        facts.append((kind, value, item))
    left = iter(facts)
    sentences = []
    for frame in frames:
        for slot in ("{0}", "{1}"):
            if slot in frame:
                kind, value, item = next(left)
                frame = frame.replace(
                    slot, rng.choice(wording.phrases[kind]).replace("{v}", value).replace("{item}", item)
                )
        said = "I" if speaks else pronoun
        text = frame.replace("{N}", name).replace("{S}", name).replace("{s}", said)
        sentences.append(_capital(_agree(text, speaks)))
    for _ in range(rng.choice((0, 0, 0, 0, 0, 1))):
        filler = (
            rng.choice(wording.fillers).replace("{city}", next(cities)).replace("{number}", str(rng.randint(100, 999)))
        )
        sentences.insert(rng.choice((0, len(sentences))), filler.replace("{name}", _other(rng, lexicon, name)))
    context = " ".join(sentences)
    if rng.random() < 0.25:  # people leave the last stop out
        context = context.rstrip(".")
    return Story(context, tuple(_questions(rng, wording, context, name, pronoun, speaks, facts)))


def _questions(
    rng: random.Random,
    wording: Wording,
    context: str,
    name: str,
    pronoun: str,
    speaks: bool,
    facts: List[Tuple[str, str, str]],
) -> Iterator[Tuple[str, str, int]]:
    """Yield a question for every fact, at times one for the person, each with the place of its answer."""
    for kind, value, item in facts:
        subject = rng.choice((name, pronoun.lower())) if not speaks else "I"
        owner = "my" if speaks else f"{name}'s" if subject == name else {"she": "her", "he": "his"}[subject]
        question = (
            rng.choice(wording.questions[kind]).replace("{S}", subject).replace("{o}", owner).replace("{item}", item)
        )
        place = _place(context, value)
        if place is not None:
            yield _capital(_agree(question, speaks)), value, place
        if not speaks and kind in wording.who and rng.random() < 0.3 and _place(context, name) is not None:
            asked = rng.choice(wording.who[kind]).replace("{v}", value)
            yield asked, name, _place(context, name) or 0
    if speaks and _place(context, name) is not None and rng.random() < 0.3:
        yield rng.choice(wording.name_questions), name, _place(context, name) or 0


def _place(context: str, text: str) -> Optional[int]:
    """Return where `text` stands as a word of its own, None unless exactly once."""
    found = [match.start() for match in re.finditer(rf"(?<!\w){re.escape(text)}(?!\w)", context)]
    return found[0] if len(found) == 1 else None


def _agree(text: str, speaks: bool) -> str:
    """Give every ``<lives|live>`` the form that fits, and "a" before a vowel its n."""
    text = _FORM.sub(lambda match: match.group(2 if speaks else 1), text)
    return re.sub(r"\ba (?=[aeiou])", "an ", text)


def _capital(text: str) -> str:
    """Begin every sentence with a capital letter."""
    return re.sub(r"(^|[.?] )([a-z])", lambda match: match.group(1) + match.group(2).upper(), text)


def _other(rng: random.Random, lexicon: Lexicon, name: str) -> str:
    return rng.choice([other for other, _ in rng.sample(lexicon.people, 2) if other != name])


def dev_lexicon() -> Lexicon:
    """Return the real names and places of the dev split."""
    people = (*((name, "she") for name in words.DEV_WOMEN), *((name, "he") for name in words.DEV_MEN))
    return Lexicon(people, words.DEV_CITIES, words.DEV_JOBS)


def words_in_use() -> FrozenSet[str]:
    """Return, in lower case, every word that a sentence, question, item, job or name of either split is made of."""
    entries = [*words.ITEMS, *words.TRAIN_JOBS, *words.JOB_FIELDS, *words.JOB_ROLES, *words.TOWN_BEGINNINGS]
    for wording in (words.TRAIN, words.DEV):
        for part in vars(wording).values():
            for group in part.values() if isinstance(part, dict) else (part,):
                entries.extend(group)
    dev = dev_lexicon()
    entries += [*(name for name, _ in dev.people), *dev.cities, *dev.jobs]
    return frozenset(re.findall(r"\w+", _SLOT.sub(" ", " ".join(entries)).lower()))


def composed_lexicon(rng: random.Random) -> Lexicon:
    """Return names, cities and jobs for train, made of syllables and parts.

    What is composed occurs neither in dev nor among the words of the sentences, and is no common word of English.
    """
    taken = {*words_in_use(), *words.COMMON_WORDS}

    def syllable() -> str:
        return rng.choice(words.ONSETS) + rng.choice(words.VOWELS) + rng.choice(words.CODAS)

    def fresh(ending: Lines = ("",)) -> str:
        while True:
            name = ("".join(syllable() for _ in range(rng.choice((1, 2, 2, 3)))) + rng.choice(ending)).capitalize()
            if 3 <= len(name) <= 10 and name.lower() not in taken:
                taken.add(name.lower())
                return name

    def city() -> str:
        chance = rng.random()
        if chance < 0.1:
            return f"{rng.choice(words.TOWN_BEGINNINGS)} {fresh()}"
        return fresh(words.TOWN_ENDINGS) if chance < 0.4 else fresh()

    people = tuple((fresh(), rng.choice(("she", "he"))) for _ in range(NUM_NAMES))
    pairs = tuple(f"{field} {role}" for field in words.JOB_FIELDS for role in words.JOB_ROLES)
    jobs = tuple(fresh(words.JOB_ENDINGS).lower() for _ in range(NUM_NAMES // 10))
    return Lexicon(people, tuple(city() for _ in range(NUM_NAMES // 2)), (words.TRAIN_JOBS + pairs) * 4 + jobs)


def texts_of(corpus: Dict[str, Any]) -> List[str]:
    """Return every context and question of a split."""
    paragraphs = [paragraph for article in corpus["data"] for paragraph in article["paragraphs"]]
    return [text for item in paragraphs for text in (item["context"], *(entry["question"] for entry in item["qas"]))]


def learn_vocabulary(texts: List[str], size: int) -> List[str]:
    """Return `size` word pieces: BERT's special tokens, every ASCII character, frequent words, fragments of rare ones.

    Greedy WordPiece cuts an unseen name into the fragments as it cuts the names of train. The order of equally frequent
    pieces is alphabetical, so that the same texts give the same vocabulary (a trained one depends on hash order).
    """
    characters = sorted(set(string.digits + string.ascii_lowercase + string.punctuation))
    counts = Counter(word for text in texts for word in re.findall(r"\w+", text.lower()))
    frequent = [word for word, count in counts.items() if count >= FREQUENT]
    fragments: Counter = Counter()
    for word in counts:
        if counts[word] < FREQUENT:
            for start, end in combinations(range(len(word) + 1), 2):
                if 2 <= end - start <= 4:
                    fragments[("##" if start else "") + word[start:end]] += 1
    learnt = sorted(frequent, key=lambda word: (-counts[word], word))
    learnt += sorted(fragments, key=lambda piece: (-fragments[piece], piece))
    base = [*SPECIAL_TOKENS, *characters, *(f"##{character}" for character in characters)]
    return list(dict.fromkeys([*base, *learnt]))[:size]
