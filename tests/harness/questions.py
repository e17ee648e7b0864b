"""Questions whose candidates do what peers do: hang, fail, leave processes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.harness import Candidate, Measure, Question
from benchmarks.harness.question import each_time

LEFT = "DISTIO_LEFT_BEHIND"
"""The environment names a file by this, for the id of a process that is left behind."""


@contextmanager
def hanging(_: int) -> Iterator[Measure]:
    """Starts a process that nobody ends, and never answers."""
    sleeps = [sys.executable, "-c", "import time; time.sleep(1000)"]
    process = subprocess.Popen(sleeps, start_new_session=True)
    Path(os.environ[LEFT]).write_text(str(process.pid))

    def measure() -> float:
        time.sleep(1000)
        return 0.0

    yield measure


def failing(_: int) -> float:
    raise ZeroDivisionError


QUESTIONS = [
    Question(
        __file__,
        "waits",
        "How long do these take?",
        "s",
        [
            Candidate("one", each_time(lambda count: 1.0 * count)),
            Candidate("half as much", each_time(lambda count: 1.0 * count), share=0.5),
            Candidate("fails", each_time(failing)),
            Candidate("missing", each_time(failing), of="no-such-distribution"),
        ],
        (8, 4, 2),
        rounds=3,
    ),
    Question(
        __file__, "hangs", "And this?", "s", [Candidate("hangs", hanging)], (1, 0, 1), limit=3
    ),
]
