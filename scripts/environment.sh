# Sourced by the other scripts: a Python environment that is active or made here, in .venv.
# shellcheck shell=bash
if [ -z "${VIRTUAL_ENV:-}" ] && [ -z "${CONDA_PREFIX:-}" ]; then
    if [ ! -x .venv/bin/python ]; then
        echo "No virtual environment is active: making .venv"
        "${PYTHON:-python3}" -m venv .venv
    fi
    # shellcheck disable=SC1091
    . .venv/bin/activate
fi
python - <<'PY'
import sys
if not (3, 9) <= sys.version_info[:2] <= (3, 12):
    sys.exit(f"mindformers needs Python 3.9 to 3.12 (MindSpore 2.10 does); this is {sys.version.split()[0]}. Set PYTHON.")
PY
