"""A file that says where the workers of `distio up` are."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

from distio.providers import SSH, Kubernetes, Local, Provider, Slurm
from distio.runtime.cores import usable_cores

__all__ = ["BadHosts", "Hosts", "read_hosts"]

_PROVIDERS: Final[Mapping[str, Callable[..., Provider]]] = {
    "local": Local,
    "ssh": SSH,
    "slurm": Slurm,
    "kubernetes": Kubernetes,
}
_CLUSTER: Final = {
    *("workers", "threads", "tags", "resources", "environment"),
    *("bind", "patience", "grace"),
}


class BadHosts(Exception):
    """The file can't be used, and why."""


@final
@dataclass(frozen=True)
class Hosts:
    """The contents of the file.

    Args:
        provider: has the hosts.
        workers: how many workers.
        options: more for `Cluster.start`.
    """

    provider: Provider
    workers: int
    options: Mapping[str, Any]


def read_hosts(path: Path | None) -> Hosts:
    """Read a file of hosts; without one, the workers are on this machine.

    Raises:
        BadHosts: it can't be used.
    """
    if path is None:
        return Hosts(Local(), usable_cores(), {})
    try:
        table = tomllib.loads(path.read_text())
    except OSError as error:
        raise BadHosts(f"can't read {str(path)!r}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadHosts(f"{str(path)!r} is no TOML: {error}") from error
    try:
        return _hosts(table)
    except (TypeError, ValueError) as error:  # of the classes, which name what is wrong
        raise BadHosts(f"{str(path)!r}: {error}") from error


def _hosts(table: dict[str, Any]) -> Hosts:
    options = table.pop("cluster", {})
    known = ", ".join(f"[{name}]" for name in _PROVIDERS)
    if unknown := options.keys() - _CLUSTER:
        raise ValueError(
            f"[cluster] has {', '.join(sorted(unknown))}, but may have only "
            f"{', '.join(sorted(_CLUSTER))}"
        )
    if len(table) != 1 or not table.keys() <= _PROVIDERS.keys():
        has = ", ".join(f"[{name}]" for name in table) or "none of them"
        raise ValueError(f"expected [cluster], and one of {known}, but it has {has}")
    [(name, arguments)] = table.items()
    takes = inspect.signature(_PROVIDERS[name]).parameters
    if unknown := arguments.keys() - takes.keys():
        raise ValueError(
            f"[{name}] has {', '.join(sorted(unknown))}, but may have only {', '.join(takes)}"
        )
    needed = [each.name for each in takes.values() if each.default is each.empty]
    if missing := [each for each in needed if each not in arguments]:
        raise ValueError(f"[{name}] needs {', '.join(missing)}")
    provider = _PROVIDERS[name](**arguments)
    least = len(provider.hosts) if isinstance(provider, SSH) else usable_cores()
    default = 1 if isinstance(provider, Slurm | Kubernetes) else least
    return Hosts(provider, options.pop("workers", default), options)
