"""Seeds that have failed: the next run of their test tries them first.

They are kept by test in pytest's cache, where `--cache-clear` finds them. A test that a thousand
seeds at night have broken fails at once in the morning, with the twenty that it usually has.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, final

import pytest

__all__ = ["FailedSeeds"]

_FOLDER: Final = "distio-seeds"
_MOST_KEPT: Final = 20


@final
class FailedSeeds:
    """The seeds that have failed in one test.

    Args:
        folder: where those of all tests are; None: nowhere.
        test: the id of the test.
    """

    def __init__(self, folder: Path | None, test: str) -> None:
        self._test = test
        name = sha256(test.encode()).hexdigest()[:16]
        self._file = None if folder is None else folder / f"{name}.json"
        self._kept = self._read()
        self._passed = self._failed = False
        """Whether all of them have passed in a call, and whether anything has failed in one."""

    @classmethod
    def of(cls, config: pytest.Config, test: str) -> FailedSeeds:
        """The failed seeds that the cache of a project knows of a test."""
        cache = getattr(config, "cache", None)  # none with `-p no:cacheprovider`
        folder = None if cache is None else _guarded(lambda: cache.mkdir(_FOLDER))
        return cls(folder, test)

    def before(self, seeds: Sequence[int]) -> list[int]:
        """Seeds to try: those that have failed, and then these."""
        return [*self._kept, *[seed for seed in seeds if seed not in self._kept]]

    def passed(self) -> None:
        """A call has tried all of them, and found nothing."""
        self._passed = True

    def failed(self, seed: int) -> None:
        """A call has tried them in order, and this seed has failed: those before it have not."""
        self._failed = True
        later = self._kept[self._kept.index(seed) + 1 :] if seed in self._kept else []
        self._kept = [seed, *later][:_MOST_KEPT]
        self._write()

    def close(self) -> None:
        """The test is over; if they have passed, they are forgotten."""
        if self._passed and not self._failed and self._kept and self._file is not None:
            file = self._file
            _guarded(lambda: file.unlink(missing_ok=True))

    def _read(self) -> list[int]:
        if self._file is None or not self._file.exists():
            return []
        try:
            known = json.loads(self._file.read_text())
        except ValueError:
            return []  # somebody has edited it, or a run was killed while it wrote
        seeds = known.get("seeds") if isinstance(known, dict) else None
        is_right = isinstance(seeds, list) and all(type(each) is int for each in seeds)
        return seeds if is_right and seeds is not None else []

    def _write(self) -> None:
        if self._file is not None:
            file, known = self._file, json.dumps({"test": self._test, "seeds": self._kept})
            _guarded(lambda: file.write_text(known))


def _guarded(act: Callable[[], Any]) -> Any:
    """Return the value of this function; None, and a warning, if the cache isn't to be written."""
    try:
        return act()
    except OSError as error:
        why = f"the seeds that fail can't be kept in pytest's cache: {error}"
        warnings.warn(pytest.PytestCacheWarning(why), stacklevel=2)
        return None
