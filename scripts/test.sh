#!/usr/bin/env bash
# Install what the tests need and run them all; arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/environment.sh
. scripts/environment.sh

# PyTorch and transformers are the oracle of the parity tests, never a need of the package itself.
# seqeval comes as source only and asks for the newest setuptools_scm, which it cannot be built with.
python -m pip install --quiet --disable-pip-version-check torch==2.13.0
export PIP_CONSTRAINT="$PWD/scripts/build_constraints.txt"
python -m pip install --quiet --disable-pip-version-check -e '.[test,oracle]'

# In the order of their names, the slow ones come first and no process ends long before the other.
exec python -m pytest -n "${TEST_PROCESSES:-2}" --dist loadfile --no-loadscope-reorder "$@"
