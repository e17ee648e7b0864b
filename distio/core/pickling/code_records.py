"""Records of the code that a pickle names: is it the same where the pickle is opened?

Rules
-----
- Code that a pickle names is imported where the pickle is opened, and so follows the code that is
  there. A *record* has the module, the name and the digest of one function or class as it was.
- Recorded is what a pickle names, and what the code of that names in its own package, and so on:
  a fiber that waits in one function may go on with others. Python's own modules and distio aren't.
- The records of one pickle are its *manifest*, one attachment. Most pickles of a program have the
  same one, so it goes to each member once, and is made once.
- A program may say which function stands in for one that has changed; see `stands_in_for`.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import Any, Final, NamedTuple, TypeVar

import msgspec

from distio.core.pickling.code import names_in
from distio.core.pickling.code_digests import digest_of_code, functions_in
from distio.core.pickling.payloads import digest_of
from distio.core.pickling.versions import describe_versions, versions_of
from distio.errors import MatchError

__all__ = [
    "NO_STAND_INS",
    "CodeRecord",
    "Comparison",
    "Difference",
    "Manifest",
    "Records",
    "StandIns",
    "compare",
    "manifest_of",
    "records_in",
    "stands_in_for",
]

F = TypeVar("F", bound=Callable[..., Any])

_MOST_KEPT: Final = 1_000
_MOST_REACHED: Final = 200
"""The most functions and classes that are recorded for one that a pickle names."""


class CodeRecord(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """A function or class as it was when a pickle was made that names it."""

    module: str
    name: str
    """The qualified name."""
    digest: str
    """Empty if there was no telling."""

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class Records(msgspec.Struct, frozen=True, array_like=True):
    """The records of all code that a pickle names."""

    code: list[CodeRecord]
    named: list[list[int]]
    """The place in `code` of each function and class that the pickle itself names, and those of
    what its code uses."""
    versions: dict[str, str] = {}
    """The versions of the packages in which they are, as far as these have one."""


class Manifest(NamedTuple):
    """The records of a pickle, as an attachment."""

    digest: bytes
    payload: bytes


# -- where a pickle is made -------------------------------------------------------------------

_manifests: Final[dict[tuple[int, ...], tuple[Sequence[Any], Manifest]]] = {}
"""The manifests by the identities of what a pickle names, which live as long as they are kept
here."""


def manifest_of(named: Iterable[Any]) -> Manifest:
    """The manifest of a pickle that names these functions and classes."""
    named = [*named]
    key = tuple(map(id, named))
    known = _manifests.get(key)
    if known is None:
        payload = msgspec.msgpack.encode(_records_of(named))
        if len(_manifests) >= _MOST_KEPT:
            _manifests.clear()
        known = _manifests[key] = named, Manifest(digest_of(payload), payload)
    return known[1]


def _records_of(named: Iterable[Any]) -> Records:
    places: dict[CodeRecord, int] = {}
    groups = [
        [places.setdefault(_record_of(each), len(places)) for each in _reached_from(obj)]
        for obj in sorted(named, key=_full_name)
    ]
    return Records([*places], groups, versions_of(record.module for record in places))


def _full_name(obj: Any) -> tuple[str, str]:
    return obj.__module__, obj.__qualname__


def _record_of(obj: Any) -> CodeRecord:
    return CodeRecord(obj.__module__, obj.__qualname__, digest_of_code(obj))


def _reached_from(obj: Any) -> list[Any]:
    """A function or class, and those of its own package that its code names, and theirs."""
    package = _package_of(obj)
    found, pending = {id(obj): obj}, [obj]
    while pending:
        for used in _used_by(pending.pop(0)):
            if len(found) == _MOST_REACHED:
                return [*found.values()]
            if id(used) not in found and _package_of(used) == package and _is_named(used):
                found[id(used)] = used
                pending.append(used)
    return [*found.values()]


def _package_of(obj: Any) -> str:
    module = getattr(obj, "__module__", None)
    return module.partition(".")[0] if isinstance(module, str) else ""


def _is_named(obj: Any) -> bool:
    """Whether the object is found in its module under its name."""
    module, name = sys.modules.get(obj.__module__), getattr(obj, "__qualname__", None)
    return isinstance(name, str) and module is not None and _find(module, name) is obj


def _find(module: ModuleType, name: str) -> Any:
    found: Any = module
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


def _used_by(obj: Any) -> Iterator[Any]:
    """The functions and classes that the code of one names."""
    if isinstance(obj, type):
        yield from obj.__bases__
    for f in functions_in(obj):
        used = names_in(f.__code__)
        for name in used:
            value = f.__globals__.get(name)
            if type(value) is ModuleType:
                inner = map(vars(value).get, used)
                yield from filter(_may_have_code, inner)
            elif _may_have_code(value):
                yield value


def _may_have_code(value: Any) -> bool:
    if isinstance(value, type | FunctionType):
        return True
    return callable(value) and isinstance(getattr(value, "__wrapped__", None), FunctionType)


# -- where it is opened -----------------------------------------------------------------------


class Difference(NamedTuple):
    """A function or class that isn't here as it was."""

    record: CodeRecord
    now: str
    """The digest of what is here; empty if there is nothing."""
    why_gone: str = ""
    """The reason why nothing is there."""
    used_by: str = ""
    """The name that the pickle has, if the pickle doesn't name the function or class itself."""
    versions: str = ""
    """The versions of its package there and here, if they differ."""

    @property
    def state(self) -> str:
        """The fate of the function or class: "changed" or "gone"."""
        return "gone" if self.why_gone else "changed"

    def __str__(self) -> str:
        by = f", which {self.used_by} uses," if self.used_by else ""
        what = f"is gone ({self.why_gone})" if self.why_gone else "has changed"
        return f"{self.record}{by} {what}" + (f" ({self.versions})" if self.versions else "")


StandIns = Mapping[tuple[str, str], Any]
"""By module and name: what is taken in place of a function or class."""
NO_STAND_INS: Final[StandIns] = {}


class Comparison(NamedTuple):
    """How the code here differs from what a pickle names."""

    differences: Sequence[Difference] = ()
    """The differences for which nothing stands in."""
    stand_ins: StandIns = NO_STAND_INS
    """The stand-ins for the other differences."""


_SAME: Final = Comparison()


@lru_cache(maxsize=_MOST_KEPT)
def records_in(payload: bytes) -> Records:
    """The records of a manifest."""
    return msgspec.msgpack.decode(payload, type=Records)


_same: Final[dict[int, tuple[Records, dict[str, ModuleType]]]] = {}
"""By identity: records that are the same here, and the modules in which they were found."""


def compare(records: Records) -> Comparison:
    """Compare with what this process imports under the same names."""
    known = _same.get(id(records))
    if known is not None and known[1].items() <= sys.modules.items():
        return _SAME
    found = [_difference(record) for record in records.code]
    if not any(found):
        if len(_same) >= _MOST_KEPT:
            _same.clear()
        _same[id(records)] = (
            records,
            {each.module: sys.modules[each.module] for each in records.code},
        )
        return _SAME
    differences: dict[CodeRecord, Difference] = {}
    stand_ins: dict[tuple[str, str], Any] = {}
    for own, *used in records.named:
        differing = [each for place in (own, *used) if (each := found[place]) is not None]
        if not differing:
            continue
        named = records.code[own]
        stand_in = _stand_in_for(named)
        if stand_in is not None:
            stand_ins[named.module, named.name] = stand_in
            continue
        for each in differing:
            by = "" if each.record is named else str(named)
            differences.setdefault(
                each.record, each._replace(used_by=by, versions=_versions(records, each.record))
            )
    return Comparison([*differences.values()], stand_ins)


def _versions(records: Records, record: CodeRecord) -> str:
    package = record.module.partition(".")[0]
    there = records.versions.get(package)
    return "" if there is None else "".join(describe_versions({package: there}))


def _difference(record: CodeRecord) -> Difference | None:
    try:
        # also if it is there: another thread may be about to fill it, and is waited for
        module = importlib.import_module(record.module)
    except Exception as error:  # noqa: BLE001 (whatever a module of the user raises)
        return Difference(record, "", f"{type(error).__name__}: {error}")
    found = _find(module, record.name)
    if found is None:
        return Difference(record, "", f"{record.module} has no {record.name}")
    now = digest_of_code(found)
    # where either is empty, there is no telling
    return Difference(record, now) if now and record.digest and now != record.digest else None


# -- what stands in ---------------------------------------------------------------------------


class _StandIn(NamedTuple):
    digest: str | None
    """The digest of the code for which it stands in; None: any."""
    made: Any


_stand_ins: Final[dict[tuple[str, str], list[_StandIn]]] = {}


def stands_in_for(name: str, digest: str | None = None) -> Callable[[F], F]:
    """Let fibers that were parked under other code call this in place of what has changed.

    A fiber that was parked before `shop.orders.approve` was changed, renamed or removed gets what
    this decorates, wherever it would call `shop.orders.approve`: with the same arguments. So it is
    where state is migrated: it may turn the arguments of before into those of now, and call the new
    function. For a function of `io.do` it is one, too; the old one, kept under another name, goes
    on where the fiber was.

    Args:
        name: the module and the name of what has changed: "shop.orders.approve".
        digest: the digest of the code for which this stands in, as `distio check` prints it; None:
            for any other code than that of now.

    Returns:
        A decorator, which leaves a function or class as it is.

    Raises:
        MatchError: the name has no module.

    >>> import distio
    >>> @distio.stands_in_for("shop.orders.approve")
    ... def approve_of_before(order: str) -> str:
    ...     return f"approve {order} as version 1"
    """
    module, _, own = name.partition(":") if ":" in name else name.rpartition(".")
    if not module or not own:
        raise MatchError(
            f"stands_in_for: {name!r} names no module; give module and name, like "
            f'"shop.orders.approve", or "shop.orders:Order.total" for what is in a class'
        )

    def register(made: F) -> F:
        known = _stand_ins.setdefault((module, own), [])
        known[:] = [each for each in known if each.digest != digest]
        known.append(_StandIn(digest, made))
        return made

    return register


def _stand_in_for(record: CodeRecord) -> Any:
    known = _stand_ins.get((record.module, record.name), ())
    exact = [each.made for each in known if each.digest == record.digest]
    return next(iter([*exact, *[each.made for each in known if each.digest is None]]), None)
