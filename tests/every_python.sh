#!/bin/sh
# Runs the test suite under every CPython from 3.11 that is found, or under one version of it, each
# in an environment of its own with the packages that the lock names.
# usage: sh tests/every_python.sh LOCK [VERSION]
set -eu
cd "$(dirname "$0")/.."
lock=$1 wanted=${2-}
seen=''
for python in "${PYTHON:-python3}" python3.11 python3.12 python3.13 python3.14 \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[1-9]*/bin/python; do
    version=$("$python" -c '
import platform, sys
if sys.version_info >= (3, 11) and platform.python_implementation() == "CPython":
    print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    case " $seen " in *" $version "*) continue ;; esac
    [ -n "$version" ] && [ "$version" = "${wanted:-$version}" ] || continue
    seen="$seen $version"
    echo "== CPython $version, $lock"
    environment=.venvs/$(basename "$lock" .txt)-$version
    [ -x "$environment/bin/python" ] || "$python" -m venv "$environment"
    sh tests/install_locked.sh "$environment/bin/python" "$lock"
    # shellcheck disable=SC2086  # the flags are words
    "$environment/bin/python" -m pytest ${PYTEST_FLAGS-}
done
[ -n "$seen" ] || {
    echo "No CPython ${wanted:-from 3.11} found; install one, or name it: PYTHON=/path/to/python" >&2
    exit 1
}
echo "== passed under CPython$seen"
