#!/usr/bin/env bash
# Install what the tests need and run them all; arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/environment.sh
. scripts/environment.sh

# PyTorch and transformers are the oracle of the parity tests, never a need of the package itself.
python -m pip install --quiet --disable-pip-version-check torch==2.13.0
python -m pip install --quiet --disable-pip-version-check -e '.[test,oracle]'

exec python -m pytest -n "${TEST_PROCESSES:-2}" --dist loadfile "$@"
