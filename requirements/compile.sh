#!/bin/sh
# Recompute requirements/lock.txt from pyproject.toml. Needs uv. Pass --upgrade to take newer versions.
cd "$(dirname "$0")/.." || exit 1
exec uv pip compile pyproject.toml --extra convert --extra runtimes --extra zoo --extra notebooks --extra dev \
    --universal --python-version 3.11 --fork-strategy fewest \
    --generate-hashes --no-emit-index-url --no-header --no-annotate --quiet --output-file requirements/lock.txt "$@"
