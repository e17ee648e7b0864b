"""Options of the interpreter: another process is started as the same kind of Python."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from distio.runtime.python_options import options_of


@dataclass
class GivenFlags:
    """As `sys.flags`."""

    debug: int = 0
    optimize: int = 0
    dont_write_bytecode: int = 0
    no_user_site: int = 0
    no_site: int = 0
    ignore_environment: int = 0
    verbose: int = 0
    bytes_warning: int = 0
    quiet: int = 0
    isolated: int = 0
    dev_mode: bool = False
    safe_path: bool = False


@dataclass
class Given:
    flags: GivenFlags
    options: list[str]
    warnings: list[str] = field(default_factory=list)
    x_options: dict[str, str | bool] = field(default_factory=dict)


@pytest.mark.parametrize(
    "given",
    [
        Given(GivenFlags(), []),
        Given(GivenFlags(optimize=2), ["-OO"]),
        Given(GivenFlags(dont_write_bytecode=1, no_site=1, quiet=1), ["-B", "-S", "-q"]),
        Given(GivenFlags(debug=1, verbose=2), ["-d", "-vv"]),
        Given(
            GivenFlags(isolated=1, ignore_environment=1, no_user_site=1, safe_path=True), ["-I"]
        ),
        Given(
            GivenFlags(ignore_environment=1, no_user_site=1, safe_path=True), ["-E", "-s", "-P"]
        ),
        Given(GivenFlags(), ["-Werror", "-Wignore::X"], ["error", "ignore::X"]),
        Given(GivenFlags(bytes_warning=1), ["-b"], ["default::BytesWarning"]),
        Given(
            GivenFlags(bytes_warning=2), ["-bb", "-Werror"], ["error", "error::BytesWarning"]
        ),
        Given(
            GivenFlags(dev_mode=True), ["-Wdefault", "-X", "dev"], ["default"] * 2, {"dev": True}
        ),
        Given(GivenFlags(dev_mode=True), ["-X", "dev"], ["default"]),
        Given(
            GivenFlags(),
            ["-X", "int_max_str_digits=0", "-X", "faulthandler"],
            [],
            {"int_max_str_digits": "0", "importtime": True, "faulthandler": True},
        ),
    ],
)  # fmt: skip
def test_options_make_the_flags_that_were_given(given: Given) -> None:
    assert options_of(given.flags, given.warnings, given.x_options) == given.options


KIND = """
import sys
def kind():
    return repr((tuple(sys.flags), sys.warnoptions, sys._xoptions, sys.stdout.write_through))
"""
ECHO = f"""
import subprocess
from distio.runtime.python_options import python_options
{KIND}
command = [sys.executable, *python_options(), "-c", {KIND + "print(kind())"!r}]
there = subprocess.run(command, capture_output=True, text=True).stdout
assert there == kind() + "\\n", (there, kind())
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["-O", "-X", "dev", "-W", "error::UserWarning", "-X", "int_max_str_digits=0"],
        ["-bb", "-W", "ignore", "-u", "-B", "-q"],
        ["-E", "-s", "-P", "-X", "utf8"],
        ["-I", "-OO", "-X", "utf8=0", "-X", "faulthandler"],
    ],
)
def test_python_options_start_the_same_kind_of_python(options: list[str]) -> None:
    environment = {**os.environ, "PYTHONWARNINGS": "default::ImportWarning,ignore::FutureWarning"}
    command = [sys.executable, *options, "-c", ECHO]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=30, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
