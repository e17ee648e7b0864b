#!/bin/sh
# Installs the packages that a lock names, each checked by its hash, then the project itself.
# The build backend is one of these packages, so that no build resolves versions of its own.
# usage: sh tests/install_locked.sh PYTHON LOCK
set -eu
cd "$(dirname "$0")/.."
python=$1 lock=$2
install() { "$python" -m pip --disable-pip-version-check install --quiet "$@"; }
install --require-hashes --requirement "$lock"
install --no-deps --no-build-isolation --editable .
