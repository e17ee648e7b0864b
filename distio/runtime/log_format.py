"""How the daemons write their logs: as text, or as one JSON object on each line."""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Final

from distio.coordination.membership.rate_limited_log import Note

__all__ = ["JsonLines", "LogFormat", "LogLevel", "name_lines", "set_up_logs"]

_TEXT: Final = "%(asctime)s %(name)s: %(message)s"
_TAGS: Final = {
    "distio_worker": "member",
    "distio_run": "run",
    "distio_fiber": "fiber",
    "distio_name": "name",
}
"""By attribute of a record, the field: see `runtime.records`."""


class LogFormat(StrEnum):
    """How a line looks."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The level from which on records are written."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"

    @property
    def number(self) -> int:
        """The number of the level in the module `logging`."""
        return logging.getLevelNamesMapping()[self.value.upper()]


class JsonLines(logging.Formatter):
    """Writes a record as one JSON object on one line.

    The fields are `time` (UTC, ISO 8601), `level`, `logger` and `event`, the text; and where they
    are known `member`, `run`, `fiber`, `name` (the fiber's), `process` and `error`, a traceback.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Make the line."""
        moment = datetime.fromtimestamp(record.created, UTC)
        fields: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.getMessage(),
        }
        if isinstance(record.msg, Note):
            fields |= record.msg.facts
        for attribute, field in _TAGS.items():
            value = getattr(record, attribute, None)
            if value not in (None, "-"):
                fields[field] = value
        if record.exc_info:
            fields["error"] = self.formatException(record.exc_info)
        elif record.exc_text:
            fields["error"] = record.exc_text
        return json.dumps(fields, ensure_ascii=False, default=str)


def set_up_logs(level: LogLevel, form: LogFormat) -> None:
    """Write records of this level and above on standard error."""
    logging.basicConfig(level=level.number, format=_TEXT)
    if form is LogFormat.JSON:
        for handler in logging.root.handlers:
            handler.setFormatter(JsonLines())


def name_lines(name: str) -> None:
    """Let lines of text begin with the name of this process: several write to one place."""
    form = _TEXT.replace("%(name)s", f"{name.replace('%', '%%')} %(name)s", 1)
    for handler in logging.root.handlers:
        if not isinstance(handler.formatter, JsonLines):
            handler.setFormatter(logging.Formatter(form))
