"""The log records of the runtime itself.

Handlers and filters are user code, and may raise. The runtime logs in the midst of code that must
not fail, so a record that can't be handled goes to standard error instead.
"""

from __future__ import annotations

import logging
import threading
from typing import Any, Final, final

__all__ = ["log"]


@final
class _RuntimeLog(logging.LoggerAdapter[logging.Logger]):
    """The logger of the runtime, whose methods don't raise what handlers raise."""

    def log(self, level: int, msg: object, *args: object, **kwargs: Any) -> None:
        # the record names the caller's line, not this one
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        try:
            super().log(level, msg, *args, **kwargs)
        except Exception:  # noqa: BLE001 (whatever a handler raises)
            self._tell_on_stderr(level, msg, args, kwargs)
        except BaseException:
            if _is_main_thread():  # a signal's handler may have raised it
                raise
            self._tell_on_stderr(level, msg, args, kwargs)

    def _tell_on_stderr(self, level: int, msg: object, args: Any, kwargs: dict[str, Any]) -> None:
        """Write the record and why no handler took it; called in an `except` clause."""
        error = kwargs.get("exc_info")
        told = (type(error), error, error.__traceback__) if error is not None else None
        record = logging.LogRecord(self.name, level, __file__, 0, msg, args, told)
        _last_resort.handle(record)
        _last_resort.handleError(record)


def _is_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


_last_resort: Final = logging.StreamHandler()
log: Final = _RuntimeLog(logging.getLogger("distio"))
