"""Ten thousand lines of mixed text: real ones from the data folder, made ones from a seeded generator."""

import gzip
import json
import random
from pathlib import Path
from typing import List

COUNT = 10_000
LONGEST = 400
"""Characters kept of a real line."""
PER_SOURCE = 250
"""Lines taken of a file."""
ALPHABETS = (
    "abcdefghijklmnopqrstuvwxyz",
    "ABCDEFGHIJKLMNOPQRSTUVWXYZ",
    "абвгдежзийклмнопрстуфхцчшщъыьэюя",
    "αβγδεζηθικλμνξοπρσςτυφχψωΑΣΏ",
    "的一是不了在人有我他这中大来上国个到说们為國學會發",
    "あいうえおかきくけこアイウエオカキクケコー",
    "가나다라마바사아자차카타파하한국어",
    "אבגדהוזחטיכלמנסעפצקרשת",
    "ابتثجحخدذرزسشصضطظعغفقكلمنهوي",
    "हिन्दीकखगघचछजझ",
    "กขคงจฉชซญดต",
    "éèêëàâäôöüßñçÅØæœİıſﬁﬂⅧ①½²ＡＢｃ１２",
    "𝒜𝓑𝕏𠀀𠮷𐍈",
)
EMOJI = (
    "😀", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "❤️", "👨🏿‍💻", "1️⃣", "🤦🏼‍♂️", "☃", "🫠",
)  # fmt: skip
CONTROLS = (
    "\x00",
    "\x01",
    "\x07",
    "\x1b[0m",
    "\x7f",
    "\x85",
    "\u200b",
    "\u200d",
    "\ufeff",
    "\ufffd",
    "\u202e",
    "\u00ad",
)
SPACES = (" ", "  ", "    ", "\t", "\t\t ", "\n", "\r\n", "\u00a0", "\u3000", "\u2003", " \n ", "          ")
SPECIAL = (
    "[CLS]", "[SEP]", "[MASK]", "[UNK]", "[PAD]", "<s>", "</s>", "<unk>", "<pad>", "<mask>", "<|endoftext|>",
    "<extra_id_0>", "<extra_id_99>", "<extra_id_100>", "[cls]", "[ MASK ]", "< s>", "<0x0A>", "▁", "▁▁the", "Ġthe",
    "##ing",
)  # fmt: skip
CODE = (
    "def f(x):\n\treturn x**2  # square", "for(int i=0;i<n;++i){a[i]+=b[i];}", "if (!p) { return -1; }", "x = {'a': 1}",
    "SELECT * FROM t WHERE a>=10;", "<div class=\"x\">&nbsp;</div>", "\\frac{1}{2}",
    "``quoted'' text", "it's don't I'LL",
    "https://a.b/c?d=e&f=%20#g", "a_b__c--d...e,,f!!??", "e.g., U.S.A.", "C:\\temp\\new", "0xFFFE 1e-5 3.14159",
)  # fmt: skip


def word(random_: random.Random) -> str:
    """Return a word of one script; now and then one with combining accents or a very long one."""
    letters = random_.choice(ALPHABETS)
    length = random_.choice((1, 2, 3, 4, 5, 6, 8, 12))
    if random_.random() < 0.01:
        length = random_.choice((90, 101, 300))
    made = [random_.choice(letters) for _ in range(length)]
    if random_.random() < 0.1:
        made.insert(random_.randrange(length) + 1, random_.choice("\u0301\u0308\u0323\u0327\u20dd"))
    return "".join(made)


def number(random_: random.Random) -> str:
    """Return a number in one of several writings."""
    value = random_.randrange(10 ** random_.randrange(1, 9))
    return random_.choice(
        (str(value), f"{value:,}", f"{value:,},", f"-{value}.{value % 97}", f"{value}%", f"${value:,}.00")
    )


def made_line(random_: random.Random) -> str:
    """Return one line; one in a hundred is empty or white space."""
    if random_.random() < 0.01:
        return random_.choice(("", " ", "\t", "   ", "\u3000"))
    makers = (
        (10, lambda: word(random_)),
        (3, lambda: number(random_)),
        (1, lambda: random_.choice(EMOJI)),
        (0.5, lambda: random_.choice(CONTROLS)),
        (1, lambda: random_.choice(SPECIAL)),
        (1, lambda: random_.choice(CODE)),
        (1, lambda: random_.choice(".,;:!?-–—()[]{}<>\"'`@#$%^&*_+=/\\|~…。，、！？「」£€")),
    )
    weights, functions = zip(*makers)
    parts = []
    for make in random_.choices(functions, weights, k=random_.randrange(1, 16)):
        parts.append(make())
        if random_.random() < 0.8:
            parts.append(" " if random_.random() < 0.8 else random_.choice(SPACES))
    return "".join(parts)


def real_lines(data_dir: Path) -> List[str]:
    """Return lines of the data folder, at most PER_SOURCE of each file."""
    squad = json.loads((data_dir / "squad" / "dev-v1.1.json").read_text(encoding="utf-8"))
    contexts = [paragraph["context"] for article in squad["data"] for paragraph in article["paragraphs"]]
    patterns = ("wikitext-2/*", "cluener/*.json", "multi30k/**/*.gz", "benchmarks/**/*.jsonl", "instruction/*.json")
    sources = [contexts]
    for file in (file for pattern in patterns for file in sorted(data_dir.glob(pattern))):
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
        sources.append(content.decode("utf-8").splitlines())
    return [line[:LONGEST] for source in sources for line in source[:PER_SOURCE]]


def mixed_lines(data_dir: Path) -> List[str]:
    """Return COUNT lines: up to four tenths real ones, the rest made from a fixed seed."""
    real = real_lines(data_dir)[: COUNT * 4 // 10]
    random_ = random.Random(20261121)
    return real + [made_line(random_) for _ in range(COUNT - len(real))]
