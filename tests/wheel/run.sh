#!/bin/sh
# usage: run.sh PYTHON TOOLS
# Builds the sdist, and the wheel from the sdist; has TOOLS, which is a Python with the packages of
# requirements/packaging.txt, look at both; installs the wheel in a fresh environment, with the
# packages that anybody would get today, and does there what newcomers do first.
set -eu
python=$(readlink -f "$(dirname "$1")")/$(basename "$1")
tools=$2
here=$(dirname "$0")
place=$(mktemp -d)
trap 'rm -rf "$place"' EXIT

"$python" -m hatchling build --target sdist --directory "$place/dist" >/dev/null
mkdir "$place/unpacked" "$place/elsewhere"
tar -xzf "$place"/dist/*.tar.gz -C "$place/unpacked" --strip-components 1
(cd "$place/unpacked" && "$python" -m hatchling build --target wheel --directory "$place/dist") \
    >/dev/null

"$tools" -m twine check --strict "$place"/dist/*
"$tools" -m check_wheel_contents --config pyproject.toml "$place"/dist/*.whl
# 8 of 10: there is neither an address of the repository nor one of mail
"$tools" -m pyroma --min 8 "$place"/dist/*.tar.gz

"$python" -m venv "$place/environment"
"$place/environment/bin/python" -m pip --disable-pip-version-check --quiet install \
    "$place"/dist/*.whl pytest
cp "$here/smoke.py" "$place/elsewhere"
cd "$place/elsewhere"
env -u PYTHONPATH "$place/environment/bin/python" smoke.py
