"""Versions of installed packages, for the question why something can't be opened elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from functools import cache

from distio.core.pickling.modules import is_everywhere, is_of_python

__all__ = ["describe_versions", "versions_of"]


def versions_of(modules: Iterable[str]) -> dict[str, str]:
    """The versions of the packages to which these modules belong, by name, as far as known here.

    Python's own modules and distio are left out: the handshake compares these.

    >>> versions_of(["msgspec.msgpack", "json"]).keys()
    dict_keys(['msgspec'])
    """
    packages = sorted({module.partition(".")[0] for module in modules})
    versions = {package: _version(package) for package in packages}
    return {package: version for package, version in versions.items() if version}


@cache
def _version(package: str) -> str:
    """The version of a package; empty if it has none."""
    if is_of_python(package):
        return ""
    own = getattr(sys.modules.get(package), "__version__", None)
    if isinstance(own, str):
        return own
    if not is_everywhere(package):
        return ""  # it isn't installed: nobody has given it a version
    from importlib import metadata  # slow to import, and needed by few

    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # its distribution has another name
        return ""


def describe_versions(there: Mapping[str, str]) -> list[str]:
    """Describe the packages whose versions here aren't those of another process, in words.

    Args:
        there: the versions where something was pickled.

    >>> describe_versions({"msgspec": "0.0.1", "nowhere": "1.0"})  # doctest: +ELLIPSIS
    ['msgspec 0.0.1 there, ... here', 'nowhere 1.0 there, missing here']
    """
    here = {package: _version_here(package) for package in there}
    return [
        f"{package} {version} there, {here[package]} here"
        for package, version in there.items()
        if here[package] not in (version, "unknown")
    ]


def _version_here(package: str) -> str:
    if package in sys.modules:
        return _version(package) or "unknown"
    from importlib import metadata, util

    try:
        if util.find_spec(package) is None:
            return "missing"
        return metadata.version(package)
    except (metadata.PackageNotFoundError, ValueError):
        return "unknown"
