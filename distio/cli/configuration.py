"""`distio config`: the settings of all commands, with their values and where they come from."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from enum import Enum
from importlib import import_module
from importlib.metadata import entry_points
from typing import Annotated, Any, Final

import typer

from distio.cli import report
from distio.runtime.configuration import BadConfiguration, configure, settings_of, value_of

__all__ = ["config", "defaults_of"]

_WORKER: Final = "worker"


def defaults_of(program: Any) -> Mapping[str, Any]:
    """The defaults that the file sets for the commands of `distio`, as click's `default_map`.

    Raises:
        BadConfiguration: something is unknown there, or in the environment.
    """
    defaults: dict[str, Any] = {}
    for section, values in configure(_commands_of(program), others=[_WORKER]).items():
        of_section = defaults
        for name in section.split("."):
            of_section = of_section.setdefault(name, {})
        of_section |= values
    return defaults


def _commands_of(program: Any, group: str = "") -> dict[str, Any]:
    """The commands by name: that of a command in a group is `GROUP.COMMAND`."""
    found: dict[str, Any] = {}
    for name, each in program.commands.items():
        if hasattr(each, "commands"):
            found |= _commands_of(each, f"{group}{name}.")
        else:
            found[group + name] = each
    return found


def config(
    context: typer.Context,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print all of it as one JSON document.")
    ] = False,
) -> int:
    """Show each setting: its value, and where that comes from.

    A setting is an option of a command. A flag comes before the environment
    variable, that before the file (distio.toml here, or where DISTIO_CONFIG
    says), that before the default. Flags aren't shown, since no command
    runs.
    """
    commands = _commands_of(context.find_root().command)
    for entry in entry_points(group="console_scripts", name="distio-worker"):
        daemon = import_module(entry.module)  # the library doesn't know the daemon
        commands[_WORKER] = typer.main.get_command(daemon.app)
    try:
        defaults = configure(commands, others=())
    except BadConfiguration as error:
        report.complain(error)
        return report.USAGE
    found = [*_values(context, commands, defaults)]
    if as_json:
        report.say(json.dumps(found, indent=2, default=str))  # a path, say
    else:
        for each in found:
            value = "-" if each["value"] is None else each["value"]
            report.say(f"{each['setting']} = {value}  # {each['source']}; {each['variable']}")
    return report.OK


def _values(
    context: typer.Context, commands: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Iterator[dict[str, Any]]:
    told = set()
    for name, command in commands.items():
        of_command = type(context)(command, info_name=name)
        of_command.default_map = dict(defaults.get(name, {}))
        for setting in settings_of(name, command):
            if setting.place in told:
                continue  # another command shares it
            told.add(setting.place)
            value, source = value_of(setting, of_command)
            yield {
                "setting": setting.place,
                "value": value.value if isinstance(value, Enum) else value,
                "source": source,
                "variable": setting.variable,
            }
