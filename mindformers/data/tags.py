"""Tags of entities: what B-, I-, E- and S- mean in each scheme, from entities to tags and back.

Schemes: IOB1 (Ramshaw & Marcus 1995: B- only between two entities of one type), IOB2 (B- begins every entity), BIOES
(also called IOBES: E- ends an entity, S- is one of a single token), and BIOS of CLUENER (S-, but no E-).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Dict, Iterable, List, NamedTuple, Sequence, Tuple

from mindformers.errors import DataError

OUTSIDE = "O"
SCHEMES: Dict[str, str] = {"IOB1": "BI", "IOB2": "BI", "BIOES": "BIES", "BIOS": "BIS"}
"""Scheme -> its prefixes, in the order in which a label set lists them."""


class Span(NamedTuple):
    """An entity over numbered tokens (or characters)."""

    type: str
    start: int
    end: int
    """Exclusive."""


def split_tag(tag: str) -> Tuple[str, str]:
    """Return prefix and type of a tag, ("O", "") outside. Raises ValueError for anything else."""
    if tag == OUTSIDE:
        return OUTSIDE, ""
    prefix, dash, kind = tag.partition("-")
    if not dash or not kind or prefix not in ("B", "I", "E", "S"):
        raise ValueError(f"{tag!r} is no tag: it must be O, or B-, I-, E- or S- with a type behind it")
    return prefix, kind


def lenient_spans(tags: Sequence[str]) -> List[Span]:
    """Return the entities that tags of any scheme show, as conlleval and seqeval's default mode read them.

    An entity begins at B-, at S-, and wherever the type changes or the one before was complete; it ends before that,
    and behind E- and S-.
    """
    found: List[Span] = []
    begin, last, kind = -1, OUTSIDE, ""
    for index, tag in enumerate((*tags, OUTSIDE)):
        prefix, own = split_tag(tag)
        if begin >= 0 and (prefix in ("O", "B", "S") or last in ("E", "S") or own != kind):
            found.append(Span(kind, begin, index))
            begin = -1
        if begin < 0 and prefix != OUTSIDE:
            begin = index
        last, kind = prefix, own
    return found


def strict_spans(tags: Sequence[str], scheme: str) -> List[Span]:
    """Return only the entities that are complete by a scheme, as seqeval's strict mode does for IOB2 and IOBES.

    Of BIOS it takes S-, and B- with at least one I- behind it, as the scoring script of CLUENER2020 does. IOB1 has no
    incomplete entities.
    """
    if scheme == "IOB1":
        return lenient_spans(tags)
    found: List[Span] = []
    index, parts = 0, [split_tag(tag) for tag in tags]
    while index < len(parts):
        prefix, kind = parts[index]
        end = index + 1
        if prefix == "B":
            while end < len(parts) and parts[end] == ("I", kind):
                end += 1
            if scheme == "BIOES":
                complete = end < len(parts) and parts[end] == ("E", kind)
                end += complete
            else:
                complete = scheme == "IOB2" or end > index + 1
            if complete:
                found.append(Span(kind, index, end))
        elif prefix == "S" and "S" in SCHEMES[scheme]:
            found.append(Span(kind, index, end))
        index = end
    return found


def read_tags(tags: Sequence[str], scheme: str) -> Tuple[List[Span], int]:
    """Return the entities of a sentence of a data file, and how many beginnings were repaired.

    IOB2: I- without a beginning begins an entity, as conlleval reads it; this is a repair. IOB1: it is the format.
    BIOES and BIOS mark entities at more than one place, so a tag that contradicts its neighbours is an error: raises
    ValueError that says which, as for a tag that the scheme does not have.
    """
    parts = [split_tag(tag) for tag in tags]
    for tag, (prefix, _) in zip(tags, parts):
        if prefix != OUTSIDE and prefix not in SCHEMES[scheme]:
            raise ValueError(f"the tag {tag!r} is not of {scheme}, which has O and {', '.join(SCHEMES[scheme])}")
    spans = lenient_spans(tags)
    if scheme == "IOB1":
        return spans, 0
    if scheme == "IOB2":
        return spans, sum(parts[span.start][0] == "I" for span in spans)
    complete = strict_spans(tags, scheme)
    if complete != spans:
        wrong = next(span for span in spans if span not in complete)
        shown = " ".join(tags[wrong.start : wrong.end])
        raise ValueError(f"the tags {shown!r} from token {wrong.start} on are no whole entity of {scheme}")
    return spans, 0


def find_scheme(sentences: Iterable[Sequence[str]]) -> str:
    """Return the scheme that tags are written in; what is no tag is passed over.

    Between IOB1 and IOB2, which share their tags, most beginnings decide: with I- or with B-.
    """
    prefixes = set()
    inside = begun = 0
    for tags in sentences:
        previous = ""
        for tag in tags:
            try:
                prefix, kind = split_tag(tag)
            except ValueError:
                prefix, kind = OUTSIDE, ""
            prefixes.add(prefix)
            if kind and kind != previous:
                inside += prefix == "I"
                begun += prefix == "B"
            previous = kind
    if "E" in prefixes:
        return "BIOES"
    if "S" in prefixes:
        return "BIOS"
    return "IOB1" if inside > begun else "IOB2"


@dataclass(frozen=True)
class LabelSet:
    """The tags a model tells apart, in the order of its outputs."""

    labels: Tuple[str, ...]
    scheme: str

    @classmethod
    def of_types(cls, types: Iterable[str], scheme: str) -> LabelSet:
        """Return O, then every type with the first prefix of the scheme, then with the next one, and so on."""
        names = list(types)
        return cls((OUTSIDE, *(f"{prefix}-{name}" for prefix in SCHEMES[scheme] for name in names)), scheme)

    @classmethod
    def of_labels(cls, labels: Sequence[str], where: str) -> LabelSet:
        """Return the set with given labels, whose prefixes say the scheme. Raises DataError beginning with `where`."""
        try:
            parts = [split_tag(label) for label in labels]
        except ValueError as error:
            raise DataError(f"{where}: {error}") from None
        twice = sorted({label for label in labels if list(labels).count(label) > 1})
        if twice or OUTSIDE not in labels or len(labels) < 2:
            wrong = f"{twice[0]!r} stands twice" if twice else "'O' is missing" if labels else "there are none"
            wrong = "there is no type of entity" if list(labels) == [OUTSIDE] else wrong
            raise DataError(f"{where}: {wrong} among the labels {list(labels)}; give O and the tags of every type once")
        prefixes = {prefix for prefix, _ in parts}
        plain = "IOB2" if "B" in prefixes else "IOB1"
        return cls(tuple(labels), "BIOES" if "E" in prefixes else "BIOS" if "S" in prefixes else plain)

    @property
    def types(self) -> Tuple[str, ...]:
        """Types of entities, in the order in which they first occur."""
        return tuple(dict.fromkeys(split_tag(label)[1] for label in self.labels if label != OUTSIDE))

    def encode(self, spans: Iterable[Span], length: int) -> List[int]:
        """Return the label number of each of `length` tokens; `spans` must not overlap.

        Raises DataError when a tag is needed that the set does not have.
        """
        number = {label: index for index, label in enumerate(self.labels)}
        tags = [OUTSIDE] * length
        for span in sorted(spans, key=lambda item: item.start):
            inside = range(span.start, span.end)
            before = split_tag(tags[span.start - 1])[1] if span.start else ""
            for place, prefix in zip(inside, self._prefixes(len(inside), before == span.type)):
                tags[place] = f"{prefix}-{span.type}"
        missing = sorted(set(tags) - set(number))
        if missing:
            raise DataError(
                f"the labels {list(self.labels)} have no {missing[0]!r}, which an entity in the data needs; "
                f"{self.scheme} takes O and {', '.join(f'{item}-' for item in SCHEMES[self.scheme])} of every type"
            )
        return [number[tag] for tag in tags]

    def _prefixes(self, length: int, touches: bool) -> str:
        """Return one prefix for each token of an entity; `touches`: one of its own type ends right before it."""
        if self.scheme == "IOB1":
            return ("B" if touches else "I") + "I" * (length - 1)
        if length == 1:
            return "B" if self.scheme == "IOB2" else "S"
        return "B" + "I" * (length - 2) + ("E" if self.scheme == "BIOES" else "I")

    def reader(self, strict: bool) -> Callable[[Sequence[int]], List[Span]]:
        """Return the function from label numbers to the entities they show, in seqeval's default or strict mode."""

        def read(numbers: Sequence[int]) -> List[Span]:
            tags = [self.labels[number] for number in numbers]
            return strict_spans(tags, self.scheme) if strict else lenient_spans(tags)

        return read
