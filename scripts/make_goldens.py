"""Write tests/golden/families from Hugging Face: python scripts/make_goldens.py [CASE ...]

Needs: pip install 'mindformers[oracle]'. The cases are those of tests/parity/family_cases.py.
"""

import json
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def main() -> None:
    from tests.parity.family_cases import CASES
    from tests.parity.family_oracle import expected
    from tests.parity.test_families import GOLDEN, condensed

    wanted = sys.argv[1:] or list(CASES)
    GOLDEN.mkdir(parents=True, exist_ok=True)
    for name in wanted:
        result = expected(name, CASES[name])
        golden = {"shapes": result["shapes"], **condensed(name, result)}
        (GOLDEN / f"{name}.json").write_text(json.dumps(golden) + "\n")
    for stale in sorted(item for item in GOLDEN.glob("*.json") if item.stem not in CASES):
        stale.unlink()
    print(f"{len(wanted)} golden files in {GOLDEN.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
