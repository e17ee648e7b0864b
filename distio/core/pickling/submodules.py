"""Modules that functions reach through a package: after `import xml.dom`, code says `xml.dom`.

Such code names the package alone. A process that imports the package hasn't imported the modules in
it, so a function that travels by value takes these along: by their names, as other modules.
"""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType, ModuleType

from distio.core.pickling.code import CodeFacts, names_in

__all__ = ["packages_of", "submodules_of"]


def packages_of(f: FunctionType, facts: CodeFacts) -> Iterator[ModuleType]:
    """The packages that a function names or has captured, and those in them that it may reach."""
    pending = [f.__globals__.get(name) for name in facts.names]
    for cell in f.__closure__ or ():
        try:
            pending.append(cell.cell_contents)
        except ValueError:  # not bound yet
            continue
    seen: set[str] = set()
    while pending:
        package = pending.pop()
        if type(package) is not ModuleType or "__path__" not in vars(package):
            continue
        if package.__name__ not in seen:
            seen.add(package.__name__)
            yield package
            pending += _within(package, f)


def submodules_of(f: FunctionType, facts: CodeFacts) -> list[ModuleType]:
    """The modules that a function may reach through packages, each behind its package."""
    return [module for package in packages_of(f, facts) for module in _within(package, f)]


def _within(package: ModuleType, f: FunctionType) -> list[ModuleType]:
    """The modules of a package that code may mean by the names of attributes."""
    parts = vars(package)
    named = [(name, parts[name]) for name in names_in(f.__code__) if name in parts]
    return [
        part
        for name, part in named
        if type(part) is ModuleType and part.__name__ == f"{package.__name__}.{name}"
    ]
