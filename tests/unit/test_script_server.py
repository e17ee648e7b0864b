"""Scripts that the harness runs in forks find what scripts of their own process find."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import PATIENCE
from tests.harness.script_server import run_script

SCRIPT = """
import __main__, atexit, os, sys, threading

class Here:
    pass

atexit.register(print, "at exit")
thread = threading.Thread(target=print, args=("thread of", threading.main_thread().name))
thread.start()
thread.join()
print(__name__, __file__, sys.path[0], sys.argv, os.getcwd())
print(__main__.Here is Here, Here.__module__, threading.active_count())
print("to stderr", file=sys.stderr)
ENDS
"""

ENDS = {
    "of itself": "",
    "by its code": "sys.exit(3)",
    "by a message": "sys.exit('said')",
    "by an exception": "raise ValueError('no')",
    "at once": "sys.stdout.flush(); os._exit(4)",
    "after a thread": "threading.Timer(0.01, print, ['late']).start()",
    "by a signal": "sys.stdout.flush(); os.kill(os.getpid(), 9)",
}


@pytest.mark.slow
@pytest.mark.parametrize("end", ENDS.values(), ids=ENDS)
def test_forked_script_does_what_it_does_in_a_process_of_its_own(end: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT.replace("ENDS", end))
    arguments = ["script.py", "one", "two"]
    alone = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE
    )
    forked = run_script(arguments, tmp_path, PATIENCE)
    assert forked.returncode == alone.returncode
    assert forked.stdout == alone.stdout
    assert forked.stderr.splitlines()[-1:] == alone.stderr.splitlines()[-1:]
