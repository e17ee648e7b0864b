"""Log records of fibers: each is tagged with its fiber, and can travel as bytes."""

from __future__ import annotations

import logging
import os
import pickle
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from distio.protocol.text import repr_of
from distio.runtime.current import origin

__all__ = ["NOBODY", "pack", "tagging", "unpack"]

NOBODY: Final[dict[str, str | None]] = {
    "distio_fiber": "-",
    "distio_name": None,
    "distio_run": "-",
    "distio_worker": "-",
}
"""The tags of a record that no fiber has logged."""


# -- in the process where it is logged --------------------------------------------------------


class _TaggingFactory:
    """Makes records as another factory does, and notes on them whose they are."""

    def __init__(self, make: Callable[..., logging.LogRecord]) -> None:
        self.make = make

    def __call__(self, *args: Any, **kwargs: Any) -> logging.LogRecord:
        record = self.make(*args, **kwargs)
        found = origin()
        record.__dict__.update(NOBODY if found is None else found.tags())
        return record


class _Tagging:
    """While programs run in this process, records tell which fiber has logged them.

    The factory of the program makes them as before, and is the factory again afterwards; one that
    the program installs meanwhile is left alone.
    """

    def __init__(self) -> None:
        self._guard = threading.RLock()
        self._count = 0
        os.register_at_fork(after_in_child=self._forked)

    def _forked(self) -> None:
        """Renew the lock in a forked child: it may have been held."""
        self._guard = threading.RLock()

    def __enter__(self) -> None:
        with self._guard:
            self._count += 1
            factory = logging.getLogRecordFactory()
            if not isinstance(factory, _TaggingFactory):
                logging.setLogRecordFactory(_TaggingFactory(factory))

    def __exit__(self, *_: object) -> None:
        with self._guard:
            self._count -= 1
            factory = logging.getLogRecordFactory()
            if not self._count and isinstance(factory, _TaggingFactory):
                logging.setLogRecordFactory(factory.make)


tagging: Final = _Tagging()
"""A context manager; may be entered by many threads at a time."""


# -- to bytes and back ------------------------------------------------------------------------

_PLAIN: Final = frozenset({str, int, float, bool, bytes, type(None)})
_encode: Final = msgspec.msgpack.Encoder().encode
_decoder: Final = msgspec.msgpack.Decoder(tuple[bytes, bytes])
_formatter: Final = logging.Formatter()


def pack(record: logging.LogRecord, tags: Mapping[str, str | None]) -> bytes:
    """Make bytes of a record, now: what it names may change.

    Exceptions become text. Arguments that can't be pickled become part of the message, and so do
    all others where they can't be made again. Other fields of the kind become text.
    """
    fields = {**record.__dict__, **tags, "exc_info": None}
    if record.exc_info and not record.exc_text:
        fields["exc_text"] = _formatter.formatException(record.exc_info)
    rich = {name: value for name, value in fields.items() if not _is_plain(value)}
    if not rich:
        return _encode((pickle.dumps(fields, pickle.HIGHEST_PROTOCOL), b""))
    if "msg" in rich or "args" in rich:
        rich |= {"msg": record.msg, "args": record.args}
        fields |= {"msg": _message_of(record), "args": None}
    payload = _try_to_pickle(rich)
    for name in rich.keys() - {"msg", "args"}:
        fields[name] = repr_of(rich[name])
    return _encode((pickle.dumps(fields, pickle.HIGHEST_PROTOCOL), payload))


def _is_plain(value: Any) -> bool:
    kind = type(value)
    if kind is tuple:
        return all(type(item) in _PLAIN for item in value)
    if kind is dict:
        return all(type(key) is str and type(item) in _PLAIN for key, item in value.items())
    return kind in _PLAIN


def _try_to_pickle(rich: dict[str, Any]) -> bytes:
    try:
        return pickle.dumps(rich, pickle.HIGHEST_PROTOCOL)
    except Exception:  # noqa: BLE001 (then their text has to do)
        return b""


def _message_of(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 (it must arrive all the same)
        return f"{repr_of(record.msg)} (its arguments don't fit: {repr_of(error)})"


def unpack(packed: bytes, member: int) -> logging.LogRecord:
    """Make a record again, by the factory of this process."""
    plain, rich = _decoder.decode(packed)
    fields = pickle.loads(plain)
    if rich:
        with suppress(Exception):  # else their text has to do, which is there already
            fields |= pickle.loads(rich)
    said, label = fields.get("distio_worker"), f"member {member}"
    if not (isinstance(said, str) and said.startswith(f"{label} (")):  # with its own name
        fields["distio_worker"] = label
    del fields["relativeCreated"]  # that of another process's start
    record = logging.makeLogRecord({})
    age = record.created - fields["created"]
    record.__dict__.update(fields)
    record.relativeCreated -= age * 1000
    return record
