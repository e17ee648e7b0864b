"""Settings of the commands: flags, environment variables and `distio.toml`, from one declaration.

An option of a command is its declaration. The environment variable and the key of the file follow
from its name: `--max-losses` of `distio coordinator` is DISTIO_COORDINATOR_MAX_LOSSES, and
`max-losses` in the section `[coordinator]`. An option that has an environment variable of its own,
such as DISTIO_URL, is shared by commands: its key stands at the top of the file. A flag comes
before the environment, that before the file, that before the default; click sees to it.

A setting that nobody would read is an error: an unknown key, or an unknown variable that begins
with DISTIO_.
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

__all__ = [
    "FILE",
    "BadConfiguration",
    "Command",
    "Setting",
    "Source",
    "configure",
    "name_source",
    "settings_of",
    "value_of",
]

FILE: Final = "distio.toml"
_PREFIX: Final = "DISTIO_"
_PLACE: Final = "DISTIO_CONFIG"
_OTHERS: Final = frozenset({_PLACE, "DISTIO_BLOCKING_THREADS", "DISTIO_PARENT", "DISTIO_PROGRESS"})
"""Variables that are no options of commands."""
_OF_KUBERNETES: Final = re.compile(r".*_(SERVICE_(HOST|PORT.*)|PORT(_\d+_(TCP|UDP).*)?)")
"""Kubernetes gives each container such variables for each service, whatever its name."""
_UNSET: Final = "UNSET"
"""The name of what newer versions of click have where no value is."""
_NO_SETTINGS: Final = frozenset({"help", "version"})


class BadConfiguration(Exception):
    """The file or the environment has what no command reads; the message says which it may be."""


class Command(Protocol):
    """A command, as click has it."""

    params: list[Any]

    def main(self, *args: Any, **extra: Any) -> Any:
        """Run the command."""


class Setting(NamedTuple):
    """An option that can be set elsewhere."""

    section: str
    """The command; that of a group is `GROUP.COMMAND`."""
    key: str
    variable: str
    is_shared: bool
    parameter: Any

    @property
    def place(self) -> str:
        """The place of the setting in the file."""
        return self.key if self.is_shared else f"{self.section}.{self.key}"


class Source(NamedTuple):
    """A value, and where it comes from."""

    value: Any
    source: str


def settings_of(section: str, command: Command) -> Iterator[Setting]:
    """The settings of a command.

    Args:
        section: its name.
        command: the command. Its options get the names of their environment variables.
    """
    for parameter in command.params:
        is_shared = bool(parameter.envvar) and not _is_made(parameter.envvar, section)
        is_option = parameter.param_type_name == "option"
        if getattr(parameter, "hidden", False) or parameter.name in _NO_SETTINGS:
            continue
        if not (is_option or is_shared):
            continue  # an argument that says what a command is about
        if is_shared:
            variable = _one(parameter.envvar)
            key = _key(variable.removeprefix(_PREFIX))
        else:
            long = max((each for each in parameter.opts if each.startswith("--")), key=len)
            key = long.removeprefix("--")
            variable = parameter.envvar = _variable(section, key)
        yield Setting(section, key, variable, is_shared, parameter)


def _one(variable: Any) -> str:
    return variable if isinstance(variable, str) else str(variable[0])


def _is_made(variable: Any, section: str) -> bool:
    return _one(variable).startswith(_variable(section, ""))


def _variable(section: str, key: str) -> str:
    return f"{_PREFIX}{section}_{key}".upper().replace("-", "_").replace(".", "_")


def _key(variable: str) -> str:
    return variable.lower().replace("_", "-")


def configure(
    commands: Mapping[str, Command],
    *,
    others: Sequence[str] | None = None,
    environment: Mapping[str, str] = os.environ,
) -> dict[str, dict[str, Any]]:
    """Read the file, and check it and the environment.

    Args:
        commands: by name; their options get the names of their environment variables.
        others: the sections of another program, which checks them; None: all but those of these
            commands are.
        environment: the variables.

    Returns:
        By command and parameter, what the file says: the `default_map` of click.

    Raises:
        BadConfiguration: something there is unknown, or the file can't be read.
    """
    settings = [each for name, command in commands.items() for each in settings_of(name, command)]
    own, foreign = (tuple(commands), ()) if others is None else (("",), tuple(others))
    _check_environment(settings, own, foreign, environment)
    path, found = _read(environment)
    given = _flattened(found)
    known = {each.place for each in settings}
    for place in given:
        is_of_all = "." not in place  # a setting that commands share is known to each program
        is_ours = is_of_all or (place.startswith(own) and not place.startswith(foreign))
        if place not in known and is_ours:
            nearest = _nearest(place, known)
            raise BadConfiguration(f"{path}: the key {place!r} is unknown{nearest}")
    defaults: dict[str, dict[str, Any]] = {}
    for setting in settings:
        if setting.place in given:
            values = defaults.setdefault(setting.section, {})
            values[setting.parameter.name] = given[setting.place]
    return defaults


def name_source(problem: Any) -> None:
    """Add to what click says of a wrong value where it comes from, if no flag gives it."""
    parameter, context = getattr(problem, "param", None), getattr(problem, "ctx", None)
    if parameter is None or context is None:
        return
    source = getattr(context.get_parameter_source(parameter.name), "name", "")
    if source == "DEFAULT_MAP":
        problem.message += f" (the file {os.environ.get(_PLACE) or FILE} says so)"
    elif source == "ENVIRONMENT":
        problem.message += f" (the environment variable {_one(parameter.envvar)} says so)"


def value_of(setting: Setting, context: Any) -> Source:
    """The value of a setting that no flag gives, and where it comes from.

    Args:
        setting: which.
        context: that of its command, as click has it, with what `configure` has returned.
    """
    value, source = setting.parameter.consume_value(context, {})
    name = getattr(source, "name", "")
    sources = {"ENVIRONMENT": setting.variable, "DEFAULT_MAP": f"the file ({setting.place})"}
    if value is None or getattr(value, "name", "") == _UNSET:
        return Source(None, "default")
    typed = setting.parameter.process_value(context, value)
    return Source(typed, sources.get(name, "default"))


def _check_environment(
    settings: Iterable[Setting],
    own: Iterable[str],
    foreign: Iterable[str],
    environment: Mapping[str, str],
) -> None:
    known = {each.variable for each in settings} | _OTHERS
    ours = tuple(f"{_PREFIX}{each.upper()}" for each in own)
    others = tuple(f"{_PREFIX}{each.upper()}_" for each in foreign)
    for variable in sorted(environment):
        is_ours = variable.startswith(ours) and not variable.startswith(others)
        if is_ours and variable not in known and not _OF_KUBERNETES.fullmatch(variable):
            nearest = _nearest(variable, known)
            raise BadConfiguration(f"the environment variable {variable} is unknown{nearest}")


def _nearest(name: str, known: Iterable[str]) -> str:
    found = get_close_matches(name, sorted(known), n=1, cutoff=0.0)
    return f"; the nearest that there is: {found[0]}" if found else ""


def _read(environment: Mapping[str, str]) -> tuple[str, dict[str, Any]]:
    given = environment.get(_PLACE)
    path = given or FILE
    if given is None and not Path(FILE).exists():
        return path, {}
    try:
        return path, tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        told = f" ({_PLACE} names it)" if given else ""
        raise BadConfiguration(f"can't read {path}{told}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfiguration(f"{path} isn't TOML: {error}") from error


def _flattened(found: Mapping[str, Any]) -> dict[str, Any]:
    """By place, what the file says."""
    flat: dict[str, Any] = {}
    for key, value in found.items():
        if isinstance(value, dict):
            flat |= {f"{key}.{inner}": each for inner, each in _flattened(value).items()}
        else:
            flat[key] = value
    return flat
