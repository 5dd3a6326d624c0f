"""A small question-answering corpus in the layout of SQuAD v1.1, composed by rules: people, cities, jobs and numbers.

A model that starts from random weights learns it within minutes, but not by heart: sentences, questions, names, cities
and jobs of the dev split never occur in train, so that an answer has to be found by its context. The names of train
are composed of syllables; those of dev are real ones.
"""
from __future__ import annotations

import json
import random
import re
import string
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence, Set, Tuple, Union

from ..errors import OutputError, UsageError, listing
from ..log import logger
from . import qa_templates as words
from .qa_templates import Lines, Wording

SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CITY_KINDS = ("home", "origin", "workplace")
KINDS = CITY_KINDS + ("job", "age", "count")
QUESTIONS_PER_CONTEXT = 4
CONTEXTS_PER_ARTICLE = 50
MAX_CONTEXT_CHARS = 110
"""Longer contexts are composed again, so that question and context fit into the window of the recipe."""

_SLOT = re.compile(r"{(\w+)}")
_FORM = re.compile(r"<(\w+)\|(\w+)>")


@dataclass(frozen=True)
class Lexicon:
    """The names and values that one split may use."""

    people: Tuple[Tuple[str, str], ...]
    """First name and pronoun."""
    surnames: Lines
    cities: Lines
    jobs: Lines


@dataclass(frozen=True)
class Person:
    name: str
    pronoun: str
    """``she``, ``he``, or ``I`` for the narrator."""

    @property
    def possessive(self) -> str:
        return {"she": "her", "he": "his", "I": "my"}[self.pronoun]


@dataclass(frozen=True)
class Fact:
    person: Person
    kind: str
    value: str
    item: str = ""


@dataclass(frozen=True)
class Filled:
    """A wording with its slots filled."""

    text: str
    skeleton: str
    """The same with the slots left open: what is compared between the splits."""
    marks: Tuple[Tuple[Union[Person, Fact], int], ...] = ()
    """Where the name of a person or the value of a fact begins, in characters."""


@dataclass(frozen=True)
class Context:
    text: str
    sentences: Tuple[Filled, ...]
    marks: Tuple[Tuple[Union[Person, Fact], int], ...]
    people: Tuple[Person, ...]
    facts: Tuple[Fact, ...]


@dataclass(frozen=True)
class SplitReport:
    """What one split consists of; all lists are sorted."""

    num_contexts: int
    num_questions: int
    sentence_templates: Lines
    """Every sentence that occurs, with names and values replaced by their slots."""
    question_templates: Lines
    names: Lines
    cities: Lines
    jobs: Lines


@dataclass(frozen=True)
class CorpusReport:
    """What `write_corpus` wrote."""

    folder: Path
    train: SplitReport
    dev: SplitReport
    vocab_size: int


def compose_lexicon(rng: random.Random, num_names: int = 6000) -> Lexicon:
    """Return the words of train: `num_names` first names, as many cities, a third of it surnames; none of them of dev."""
    taken = {word.lower() for entry in (*words.DEV_WOMEN, *words.DEV_MEN, *words.DEV_SURNAMES, *words.DEV_CITIES)
             for word in entry.split()} - {word.lower() for word in words.TOWN_BEGINNINGS}

    def syllable() -> str:
        onset = rng.choice(words.ONSETS if rng.random() < 0.4 else "bdfghjklmnprstvw")
        vowel = rng.choice(words.VOWELS if rng.random() < 0.3 else "aeiou")
        return onset + vowel + (rng.choice(words.CODAS) if rng.random() < 0.5 else "")

    def fresh(ending: Sequence[str] = ("",)) -> str:
        while True:
            name = "".join(syllable() for _ in range(rng.choice((1, 1, 2, 2, 2, 3)))) + rng.choice(ending)
            if 3 <= len(name) <= 11 and name not in taken and not re.search(r"(.)\1\1", name):
                taken.add(name)
                return name.capitalize()

    def city() -> str:
        name = fresh(words.TOWN_ENDINGS if rng.random() < 0.4 else ("",))
        chance = rng.random()
        if chance < 0.15:
            return f"{rng.choice(words.TOWN_BEGINNINGS)} {name}"
        return f"{name} {fresh()}" if chance < 0.25 else name

    people = tuple((fresh(("a", "e", "i", "ia", "")), "she") if index % 2 else (fresh(("", "o", "us", "")), "he")
                   for index in range(num_names))
    made_up = tuple(fresh(("er", "or", "ist", "ian", "man")).lower() for _ in range(200))
    jobs = {*words.TRAIN_JOBS, *made_up, *(f"{area} {role}" for area in words.JOB_FIELDS for role in words.JOB_ROLES)}
    return Lexicon(people, tuple(fresh(("", "son", "er", "mann", "s", "ez")) for _ in range(num_names // 3)),
                   tuple(city() for _ in range(num_names)), tuple(sorted(jobs - set(words.DEV_JOBS))))


def dev_lexicon() -> Lexicon:
    """Return the words of dev: real names and cities."""
    people = [(name, "she") for name in words.DEV_WOMEN] + [(name, "he") for name in words.DEV_MEN]
    return Lexicon(tuple(people), words.DEV_SURNAMES, words.DEV_CITIES, words.DEV_JOBS)


def kinds_of(template: str) -> Tuple[str, ...]:
    """Return the kinds of fact that a wording states, in order."""
    return tuple(slot for slot in _SLOT.findall(template) if slot in KINDS)


def by_kinds(templates: Iterable[str]) -> Dict[Tuple[str, ...], List[str]]:
    """Group wordings by the facts they state."""
    groups: Dict[Tuple[str, ...], List[str]] = {}
    for template in templates:
        groups.setdefault(kinds_of(template), []).append(template)
    return groups


def conjugate(template: str, person: Person) -> str:
    """Put the verb forms and the possessive that belong to `person` into a wording."""
    form = 2 if person.pronoun == "I" else 1
    return _FORM.sub(lambda match: match.group(form), template).replace("{their}", person.possessive)


def fill(template: str, person: Person, named: bool, facts: Sequence[Fact] = (), other: Optional[Person] = None,
         fillers: Optional[Dict[str, str]] = None) -> Filled:
    """Fill the slots of a wording about `person`; `facts` stand in the order of their slots.

    `named`: the person first stands by name, then as he or she; the narrator by name only in an introduction.
    """
    text, skeleton, marks, end = "", "", [], 0
    waiting, current = list(facts), None
    template = conjugate(template, person)
    for match in _SLOT.finditer(template):
        slot, plain = match.group(1), template[end:match.start()]
        text, skeleton, end = text + plain, skeleton + plain, match.end()
        subject = other if slot == "Q" and other is not None else person
        if slot in ("P", "Q", "N", "owner"):
            by_name = subject.pronoun != "I" if slot == "Q" else named
            suffix = "'s" if slot == "owner" and by_name else ""
            if by_name:
                marks.append((subject, len(text)))
                value, shown = subject.name, "{name}"
                named = named and slot == "Q"
            else:
                value = shown = subject.possessive if slot == "owner" else subject.pronoun
            value, shown = value + suffix, shown + suffix
        elif slot == "a":
            value = shown = "an" if waiting[0].value[0] in "aeiou" else "a"
        elif slot == "item":
            current = current or waiting.pop(0)
            value, shown = current.item, "{item}"
        elif fillers and slot in fillers:
            value, shown = fillers[slot], "{%s}" % slot
        else:
            current = waiting.pop(0)
            marks.append((current, len(text)))
            value = current.value
            shown = "{city}" if slot in CITY_KINDS else "{job}" if slot == "job" else "{number}"
        text, skeleton = text + value, skeleton + shown
    text, skeleton = text + template[end:], skeleton + template[end:]
    return Filled(text[0].upper() + text[1:], skeleton[0].upper() + skeleton[1:], tuple(marks))


class Storyteller:
    """Composes contexts and questions from the wording and the words of one split."""

    def __init__(self, rng: random.Random, wording: Wording, lexicon: Lexicon):
        self.rng, self.wording, self.lexicon = rng, wording, lexicon
        self.phrases, self.wholes = by_kinds(wording.phrases), by_kinds(wording.wholes)
        self.who_questions = by_kinds(wording.who_questions)
        self.fact_questions: Dict[str, List[str]] = {}
        for line in wording.fact_questions:
            kind, _, question = line.partition(": ")
            self.fact_questions.setdefault(kind, []).append(question)

    def cast(self) -> Tuple[List[Person], List[Fact]]:
        """Choose who occurs, and the facts of each; no name, city, job or number occurs twice."""
        rng = self.rng
        narrator = rng.random() < 0.45
        number = rng.choice((1, 1, 1, 2) if narrator else (1, 1, 2))
        people = []
        for index, (name, pronoun) in enumerate(rng.sample(self.lexicon.people, number)):
            if rng.random() < 0.2:
                name = f"{name} {rng.choice(self.lexicon.surnames)}"
            people.append(Person(name, "I" if narrator and index == 0 else pronoun))
        cities, jobs = iter(rng.sample(self.lexicon.cities, 9)), iter(rng.sample(self.lexicon.jobs, 3))
        items, numbers = iter(rng.sample(words.ITEMS, 6)), rng.sample(range(2, 99), 97)
        facts = []
        for person in people:
            num_facts = rng.choice((1, 2, 2, 3, 3) if number == 1 else (1, 1, 2))
            kinds = rng.sample(KINDS + ("count",), num_facts)
            if num_facts > 1 and rng.random() < 0.4:
                kinds = rng.sample(CITY_KINDS, 2) + rng.sample(("job", "age", "count", "count"), num_facts - 2)
            for kind in kinds:
                if kind in CITY_KINDS:
                    facts.append(Fact(person, kind, next(cities)))
                elif kind == "job":
                    facts.append(Fact(person, kind, next(jobs)))
                elif kind == "age":
                    facts.append(Fact(person, kind, str(numbers.pop(next(index for index, years in enumerate(numbers) if years >= 18)))))
                else:
                    value = numbers.pop()
                    spelled = 2 <= value <= 12 and rng.random() < 0.5
                    facts.append(Fact(person, kind, words.NUMBER_WORDS[value - 2] if spelled else str(value), next(items)))
        return people, facts

    def units(self, facts: Sequence[Fact]) -> List[Tuple[Fact, ...]]:
        """Split the facts of one person into what one phrase says."""
        waiting, units = list(facts), []
        while waiting:
            unit = (waiting.pop(0),)
            for partner in waiting:
                if (unit[0].kind, partner.kind) in self.phrases and self.rng.random() < 0.7:
                    waiting.remove(partner)
                    unit = (unit[0], partner)
                    break
            units.append(unit)
        return units

    def varied(self, wording: str, before: Lines, after: Lines) -> str:
        """Put words that change nothing around a wording, now and then; around one that begins with ~ always."""
        core, rng = wording.lstrip("~"), self.rng
        if not before:
            return core
        chance = rng.random()
        if core != wording:
            chance *= 0.6
        end = core[-1] if core[-1] in "?." else ""
        body = core[:len(core) - len(end)]
        if chance < 0.35:
            opener = rng.choice(before)
            first = body[0].lower() if opener[0].isupper() else body[0]
            body = f"{opener} {first}{body[1:]}"
        if 0.25 < chance < 0.6:
            closer = rng.choice(after)
            body += closer if closer.startswith(",") else f" {closer}"
        return body + end

    def phrase(self, unit: Sequence[Fact]) -> str:
        """Choose a phrase that says `unit`, in the form of its person."""
        phrase = self.rng.choice(self.phrases[tuple(fact.kind for fact in unit)])
        return conjugate(self.varied(phrase, self.wording.before, self.wording.after), unit[0].person)

    def question(self, choices: Sequence[str]) -> str:
        """Choose a question."""
        return self.varied(self.rng.choice(choices), self.wording.openers, self.wording.closers)

    def sentence(self, frames: Sequence[str], person: Person, named: bool, units: List[Tuple[Fact, ...]],
                 other: Optional[Tuple[Person, Tuple[Fact, ...]]] = None) -> Filled:
        """Choose a sentence that has room for at most `units`, say them, and take them off the list."""
        frames = [frame for frame in frames if named or "{N}" not in frame]
        frame = self.rng.choice([frame for frame in frames if ("{0}" in frame) + ("{1}" in frame) <= len(units)
                                 or other is not None])
        facts: List[Fact] = []
        for place in ("{0}", "{1}"):
            if place in frame:
                unit = units.pop(0) if other is None or place == "{0}" else other[1]
                facts += unit
                frame = frame.replace(place, self.phrase(unit))
        return fill(frame, person, named, facts, other[0] if other else None)

    def story(self, people: Sequence[Person], facts: Sequence[Fact]) -> List[Filled]:
        """Say all facts, in sentences that belong together."""
        rng, told = self.rng, []
        units = {person: self.units([fact for fact in facts if fact.person == person]) for person in people}
        paired: Set[Person] = set()
        order = rng.sample(people, len(people))
        if len(order) > 1 and rng.random() < 0.4:
            first, second = order[:2]
            told.append(self.sentence(self.wording.pair_sentences, first, first.pronoun != "I", units[first],
                                      (second, units[second].pop(0))))
            paired = {first, second}
        for person in order:
            if person.pronoun == "I" and units[person] and rng.random() < 0.6:
                told.append(self.sentence(self.wording.introductions, person, True, units[person]))
            elsewhere = {fact.kind for fact in facts if fact.person != person}
            named = True
            while units[person]:
                unit = units[person][0]
                if person.pronoun == "I" or (not named and not {fact.kind for fact in unit} & elsewhere
                                             and rng.random() < 0.6):
                    by_name = False
                else:
                    by_name = True
                options = [whole for whole in self.wholes.get(tuple(fact.kind for fact in unit), ())
                           if by_name or "{N}" not in whole]
                if options and rng.random() < 0.2:
                    units[person].pop(0)
                    told.append(fill(rng.choice(options), person, by_name, unit))
                else:
                    room = units[person] if by_name or person.pronoun == "I" else [unit]
                    before = len(room)
                    told.append(self.sentence(self.wording.sentences, person, by_name, room))
                    if room is not units[person] and len(room) < before:
                        units[person].pop(0)
                named = person in paired
        return told

    def filler(self, people: Sequence[Person], facts: Sequence[Fact]) -> Filled:
        """Return a sentence about something else."""
        taken = {value for fact in facts for value in (fact.value, fact.item)} | {person.name for person in people}
        rng, values = self.rng, {}
        for slot, choices in (("city", self.lexicon.cities), ("name", [name for name, _ in self.lexicon.people]),
                              ("number", [str(number) for number in range(2, 99)])):
            values[slot] = next(value for value in iter(lambda: rng.choice(choices), None)
                                if not any(value in other for other in taken))
        return fill(rng.choice(self.wording.fillers), Person("", "I"), False, fillers=values)

    def context(self) -> Context:
        """Compose one context of at most `MAX_CONTEXT_CHARS` characters."""
        while True:
            people, facts = self.cast()
            sentences = self.story(people, facts)
            if self.rng.random() < 0.25:
                sentences.insert(self.rng.choice((0, len(sentences))), self.filler(people, facts))
            text, marks = "", []
            for sentence in sentences:
                start = len(text) + 1 if text else 0
                text = f"{text} {sentence.text}" if text else sentence.text
                marks += [(what, start + offset) for what, offset in sentence.marks]
            if self.rng.random() < 0.2:
                text = text.rstrip(".")
            if len(text) <= MAX_CONTEXT_CHARS:
                return Context(text, tuple(sentences), tuple(marks), tuple(people), tuple(facts))

    def questions(self, context: Context) -> List[Tuple[Filled, str, int]]:
        """Return everything that can be asked about a context: question, answer and where it starts, shuffled."""
        rng, asked = self.rng, []
        starts: Dict[Union[Person, Fact], List[int]] = {}
        for what, start in context.marks:
            starts.setdefault(what, []).append(start)
        alone = len(context.people) == 1
        for fact in context.facts:
            narrates = fact.person.pronoun == "I"
            named = not narrates and not (alone and rng.random() < 0.1)
            template = self.question([line for line in self.fact_questions[fact.kind] if named or "{N}" not in line])
            subject = fact.person
            if rng.random() < 0.5:
                subject = replace(subject, name=subject.name.split()[0])
            asked.append((fill(template, subject, named, [fact]), fact.value, starts[fact][0]))
            if fact.person in starts and rng.random() < 0.35:
                near = [start for start in starts[fact.person] if start <= starts[fact][0]] or starts[fact.person]
                template = self.question(self.who_questions[(fact.kind,)])
                asked.append((fill(template, fact.person, False, [fact]), fact.person.name, near[-1]))
        for person in context.people:
            if person.pronoun == "I" and person in starts and rng.random() < 0.5:
                asked.append((fill(self.question(self.wording.name_questions), person, False), person.name,
                              starts[person][0]))
        rng.shuffle(asked)
        return asked


def compose_split(split: str, seed: int, wording: Wording, lexicon: Lexicon, num_questions: int) -> Tuple[dict, SplitReport]:
    """Return one split as a SQuAD v1.1 object of exactly `num_questions` questions, and what it consists of."""
    teller = Storyteller(random.Random(f"{split} {seed}"), wording, lexicon)
    paragraphs: List[dict] = []
    sentences, questions, total = set(), set(), 0
    while total < num_questions:
        context, rows = teller.context(), []
        for question, answer, start in teller.questions(context)[:min(QUESTIONS_PER_CONTEXT, num_questions - total)]:
            rows.append({"answers": [{"answer_start": start, "text": answer}], "question": question.text,
                         "id": f"{split}-{seed}-{total:06d}"})
            questions.add(question.skeleton)
            total += 1
        paragraphs.append({"context": context.text, "qas": rows})
        sentences.update(sentence.skeleton for sentence in context.sentences)
    articles = [{"title": f"Neighbours_{split}_{index // CONTEXTS_PER_ARTICLE}",
                 "paragraphs": paragraphs[index:index + CONTEXTS_PER_ARTICLE]}
                for index in range(0, len(paragraphs), CONTEXTS_PER_ARTICLE)]
    names = [name for name, _ in lexicon.people]
    report = SplitReport(len(paragraphs), total, tuple(sorted(sentences)), tuple(sorted(questions)),
                         tuple(sorted({*names, *lexicon.surnames})), tuple(sorted(lexicon.cities)),
                         tuple(sorted(lexicon.jobs)))
    return {"version": "1.1", "data": articles}, report


def texts_of(corpus: dict) -> List[str]:
    """Return all contexts and questions of a SQuAD object, in order."""
    paragraphs = [paragraph for article in corpus["data"] for paragraph in article["paragraphs"]]
    return [text for paragraph in paragraphs
            for text in (paragraph["context"], *(row["question"] for row in paragraph["qas"]))]


def train_vocabulary(texts: Iterable[str], size: int) -> List[str]:
    """Return a lower-case WordPiece vocabulary of `size` entries (fewer where `texts` are too few), [PAD] first.

    All printable ASCII characters are in it, alone and as continuation, so that any ASCII word can be split.
    """
    from tokenizers import BertWordPieceTokenizer

    characters = [character for character in string.printable[:94] if not character.isupper()]
    # The trainer numbers the pieces it does not know in the order of a hash table; as special tokens they are known.
    known = [*SPECIAL_TOKENS, *characters, *(f"##{character}" for character in characters)]
    tokenizer = BertWordPieceTokenizer(lowercase=True)
    tokenizer.train_from_iterator(texts, vocab_size=size, min_frequency=2, special_tokens=known, show_progress=False)
    numbers = tokenizer.get_vocab()
    return sorted(numbers, key=numbers.__getitem__)


def write_corpus(folder: Union[str, Path], *, seed: int = 0, train_questions: int = 30000, dev_questions: int = 1000,
                 vocab_size: int = 1200, overwrite: bool = False) -> CorpusReport:
    """Write train-v1.1.json, dev-v1.1.json and vocab.txt into `folder` (made if absent); equal arguments, equal bytes.

    The vocabulary is trained on the train split alone. Files that are there with the same bytes are left as they are.
    Raises UsageError for a number below 1, OutputError when other files would be overwritten without `overwrite`.
    """
    for name, number in (("train_questions", train_questions), ("dev_questions", dev_questions)):
        if number < 1:
            raise UsageError(f"write_corpus: {name} is {number}; it must be at least 1")
    folder = Path(folder)
    lexicon = compose_lexicon(random.Random(f"lexicon {seed}"))
    train, train_report = compose_split("train", seed, words.TRAIN, lexicon, train_questions)
    dev, dev_report = compose_split("dev", seed, words.DEV, dev_lexicon(), dev_questions)
    vocabulary = train_vocabulary(texts_of(train), vocab_size)
    files = {"train-v1.1.json": json.dumps(train), "dev-v1.1.json": json.dumps(dev),
             "vocab.txt": "".join(f"{token}\n" for token in vocabulary)}
    changed = {folder / name: text.encode("ascii") for name, text in files.items()
               if not (folder / name).is_file() or (folder / name).read_bytes() != text.encode("ascii")}
    existing = [path for path in changed if path.exists()]
    if existing and not overwrite:
        raise OutputError(listing(f"{folder}: these files exist with other content; choose another folder, or pass "
                                  "overwrite=True to replace them:", [path.name for path in existing]))
    folder.mkdir(parents=True, exist_ok=True)
    for path, content in changed.items():
        path.write_bytes(content)
    logger.info("question-answering corpus in %s: %d train and %d dev questions, %d pieces", folder, train_questions,
                dev_questions, len(vocabulary))
    return CorpusReport(folder, train_report, dev_report, len(vocabulary))
