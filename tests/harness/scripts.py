"""Scripts that exist for tests alone: modules that no other process can import."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent
from types import ModuleType
from typing import Any

from distio.core.pickling.dumping import dump
from distio.core.pickling.loading import Bundle, load
from distio.core.pickling.spaces import ObjectSpace, use_space
from distio.protocol.pieces import joined

__all__ = ["Elsewhere", "Script", "script_in"]

Script = Callable[[str], Any]
"""Makes a module of a text."""


@contextmanager
def script_in(directory: Path) -> Iterator[Script]:
    """Make modules that are known in this process alone, as a script is."""
    made: list[str] = []

    def script(text: str, name: str = "") -> ModuleType:
        name = name or f"script_{len(made)}"
        path = directory / f"{name}.py"
        path.write_text(dedent(text))
        module = ModuleType(name)
        module.__file__ = str(path)
        sys.modules[name] = module
        made.append(name)
        exec(compile(path.read_text(), str(path), "exec", dont_inherit=True), vars(module))
        return module

    yield script
    for name in made:
        sys.modules.pop(name, None)


class Elsewhere:
    """Another process, as far as pickles are concerned."""

    def __init__(self) -> None:
        self.space = ObjectSpace()
        self.bundles: dict[bytes, Bundle] = {}

    def gets(self, value: Any) -> Any:
        """A value that travels from this process, as it arrives there."""
        return self.opens(joined(dump(value).whole()))

    def opens(self, payload: bytes) -> Any:
        """A payload, unpickled there."""
        with use_space(self.space):
            return load(payload, self.bundles)

    def sends(self, value: Any) -> Any:
        """A value that travels from there, as it arrives in this process."""
        with use_space(self.space):
            payload = joined(dump(value).whole())
        return load(payload)

    def ends_the_run(self) -> None:
        """The fibers that came are no more."""
        while self.bundles:
            self.bundles.popitem()[1].release()
