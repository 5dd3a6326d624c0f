"""Tags of entities in four schemes, and scores equal to seqeval's."""

import random
import warnings

import pytest

from mindformers.data.tags import LabelSet, Span, find_scheme, lenient_spans, read_tags, strict_spans
from mindformers.errors import DataError
from mindformers.evaluate.entities import score_entities

TYPES = ("PER", "LOC", "ORG")
SEQUENCES = 2000


def random_tags(chance, prefixes, length):
    """Tags without any order, but with runs long enough that whole entities occur."""
    tags = []
    while len(tags) < length:
        kind = chance.choice(TYPES)
        tags += [f"{chance.choice(prefixes)}-{kind}" for _ in range(chance.randint(1, 3))]
        tags += ["O"] * chance.randint(0, 2)
    return tags[:length]


@pytest.fixture(scope="module")
def seqeval():
    return pytest.importorskip("seqeval.metrics", reason="needs: pip install 'mindformers[oracle]'")


@pytest.mark.parametrize("scheme", ["default", "IOB2", "IOBES"])
def test_scores_of_random_tags_equal_those_of_seqeval(scheme, seqeval):
    from seqeval import scheme as schemes

    chance = random.Random(7)
    prefixes = "BI" if scheme == "IOB2" else "BIES"
    pairs = []
    for _ in range(SEQUENCES):
        length = chance.randint(1, 20)
        truth = random_tags(chance, prefixes, length)
        guess = [tag if chance.random() < 0.8 else chance.choice(random_tags(chance, prefixes, 5)) for tag in truth]
        pairs.append((truth, guess))
    options = {} if scheme == "default" else {"mode": "strict", "scheme": getattr(schemes, scheme)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # types that nobody predicts
        report = seqeval.classification_report(*zip(*pairs), output_dict=True, **options)
    ours = {"IOB2": "IOB2", "IOBES": "BIOES"}.get(scheme)

    def read(tags):
        return lenient_spans(tags) if ours is None else strict_spans(tags, ours)

    whole, by_type = score_entities([read(truth) for truth, _ in pairs], [read(guess) for _, guess in pairs])
    assert set(by_type) == set(TYPES)
    assert 0.1 < whole.f1 < 0.9  # else this test shows nothing
    for name, score in {**by_type, "micro avg": whole}.items():
        expected = report[name]
        assert score[:3] == pytest.approx([expected[item] for item in ("precision", "recall", "f1-score")], abs=1e-12)
        assert score.entities == expected["support"]


@pytest.mark.parametrize("strict", [False, True])
def test_entities_of_each_random_sequence_equal_those_of_seqeval(strict, seqeval):
    from seqeval.metrics.sequence_labeling import get_entities
    from seqeval.scheme import IOB1, IOB2, IOBES, Entities

    chance = random.Random(8)
    for _ in range(SEQUENCES):
        tags = random_tags(chance, "BIES", chance.randint(0, 12))
        if not strict:
            assert [(kind, first, end - 1) for kind, first, end in lenient_spans(tags)] == get_entities(tags)
            continue
        for scheme, theirs in (("IOB2", IOB2), ("BIOES", IOBES)):
            own = [tag for tag in tags if tag[0] in ("OBI" if scheme == "IOB2" else "OBIES")]
            expected = [(item.tag, item.start, item.end) for item in Entities([own], theirs).entities[0]]
            assert [tuple(span) for span in strict_spans(own, scheme)] == expected
    spans = [Span("PER", 0, 2), Span("PER", 2, 3), Span("LOC", 4, 5)]
    tags = ["I-PER", "I-PER", "B-PER", "O", "I-LOC"]
    assert strict_spans(tags, "IOB1") == spans
    assert [(item.tag, item.start, item.end) for item in Entities([tags], IOB1).entities[0]] == spans


def test_without_entities_all_scores_are_zero_and_nothing_is_divided_by_zero():
    assert score_entities([[]], [[]]) == ((0.0, 0.0, 0.0, 0), {})
    whole, by_type = score_entities([[Span("A", 0, 1)]], [[]])
    assert tuple(whole) == tuple(by_type["A"]) == (0.0, 0.0, 0.0, 1)


def test_strict_bios_takes_single_tokens_and_beginnings_with_a_continuation():
    tags = ["B-a", "O", "I-a", "S-a", "B-b", "I-b", "I-a", "B-a"]
    assert strict_spans(tags, "BIOS") == [Span("a", 3, 4), Span("b", 4, 6)]
    assert lenient_spans(tags) == [
        Span("a", 0, 1),
        Span("a", 2, 3),
        Span("a", 3, 4),
        Span("b", 4, 6),
        Span("a", 6, 7),
        Span("a", 7, 8),
    ]


SENTENCE = [Span("PER", 0, 2), Span("PER", 2, 3), Span("LOC", 4, 7)]
WRITTEN = {
    "IOB1": ["I-PER", "I-PER", "B-PER", "O", "I-LOC", "I-LOC", "I-LOC"],
    "IOB2": ["B-PER", "I-PER", "B-PER", "O", "B-LOC", "I-LOC", "I-LOC"],
    "BIOES": ["B-PER", "E-PER", "S-PER", "O", "B-LOC", "I-LOC", "E-LOC"],
    "BIOS": ["B-PER", "I-PER", "S-PER", "O", "B-LOC", "I-LOC", "I-LOC"],
}


@pytest.mark.parametrize("scheme", WRITTEN)
def test_every_scheme_is_found_read_and_written(scheme):
    tags = WRITTEN[scheme]
    assert find_scheme([tags, ["O"]]) == scheme
    assert read_tags(tags, scheme) == (SENTENCE, 0)
    labels = LabelSet.of_types(["PER", "LOC"], scheme)
    assert [labels.labels[number] for number in labels.encode(SENTENCE, 7)] == tags
    assert labels.reader(strict=True)(labels.encode(SENTENCE, 7)) == SENTENCE


def test_an_inner_tag_without_beginning_is_the_format_a_repair_or_an_error():
    tags = ["O", "I-PER", "I-PER"]
    assert read_tags(tags, "IOB1") == ([Span("PER", 1, 3)], 0)
    assert read_tags(tags, "IOB2") == ([Span("PER", 1, 3)], 1)
    for scheme in ("BIOES", "BIOS"):
        with pytest.raises(ValueError, match=f"the tags 'I-PER I-PER' from token 1 on are no whole entity of {scheme}"):
            read_tags(tags, scheme)


@pytest.mark.parametrize(
    "tags, scheme, message",
    [
        (["X-PER"], "IOB2", "'X-PER' is no tag: it must be O, or B-, I-, E- or S- with a type"),
        (["B-"], "IOB2", "'B-' is no tag"),
        (["o"], "IOB2", "'o' is no tag"),
        (["S-PER"], "IOB2", "the tag 'S-PER' is not of IOB2, which has O and B, I"),
        (["B-PER", "E-PER"], "BIOS", "the tag 'E-PER' is not of BIOS"),
        (["B-PER", "O"], "BIOS", "the tags 'B-PER' from token 0 on are no whole entity of BIOS"),
        (["B-PER", "I-PER"], "BIOES", "the tags 'B-PER I-PER' from token 0 on are no whole entity of BIOES"),
    ],
)
def test_a_tag_that_its_scheme_does_not_have_is_refused(tags, scheme, message):
    with pytest.raises(ValueError, match=message):
        read_tags(tags, scheme)


def test_labels_list_every_prefix_with_all_types():
    labels = LabelSet.of_types(["b", "a"], "BIOS")
    assert labels.labels == ("O", "B-b", "B-a", "I-b", "I-a", "S-b", "S-a")
    assert labels.types == ("b", "a")


@pytest.mark.parametrize("scheme, prefixes", [("IOB1", "I"), ("IOB2", "BI"), ("BIOES", "SBIE"), ("BIOS", "SBI")])
def test_the_scheme_of_given_labels_is_found_in_their_prefixes(scheme, prefixes):
    assert LabelSet.of_labels(["O", *(f"{item}-x" for item in prefixes)], "labels").scheme == scheme


@pytest.mark.parametrize(
    "labels, message",
    [
        (["B-x", "I-x"], "mine: 'O' is missing among the labels"),
        (["O", "B-x", "B-x"], "mine: 'B-x' stands twice"),
        (["O"], "mine: there is no type of entity"),
        ([], "mine: there are none"),
        (["O", "positive"], "mine: 'positive' is no tag"),
    ],
)
def test_given_labels_that_are_no_set_of_tags_are_refused(labels, message):
    with pytest.raises(DataError, match=message):
        LabelSet.of_labels(labels, "mine")


def test_an_entity_that_the_labels_cannot_write_is_an_error():
    labels = LabelSet.of_labels(["O", "B-x"], "labels")
    assert labels.encode([Span("x", 0, 1)], 2) == [1, 0]
    with pytest.raises(DataError, match="have no 'I-x', which an entity in the data needs; IOB2 takes O and B-, I-"):
        labels.encode([Span("x", 0, 2)], 2)
