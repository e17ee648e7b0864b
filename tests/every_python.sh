#!/bin/sh
# Runs the test suite under every CPython from 3.11 that is found, each in its own environment.
# What it is given, it gives to pytest.
set -eu
cd "$(dirname "$0")/.."
seen=''
for python in "${PYTHON:-python3}" python3.11 python3.12 python3.13 python3.14 \
    "${PYENV_ROOT:-$HOME/.pyenv}"/versions/3.1[1-9]*/bin/python; do
    version=$("$python" -c '
import platform, sys
if sys.version_info >= (3, 11) and platform.python_implementation() == "CPython":
    print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    case " $seen " in *" $version "*) continue ;; esac
    [ -n "$version" ] || continue
    seen="$seen $version"
    echo "== CPython $version"
    [ -x ".venvs/$version/bin/python" ] || "$python" -m venv ".venvs/$version"
    ".venvs/$version/bin/python" -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
    ".venvs/$version/bin/python" -m pytest "$@"
done
[ -n "$seen" ] || { echo 'no CPython from 3.11 found' >&2; exit 1; }
echo "== passed under CPython$seen"
