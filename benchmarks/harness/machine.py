"""The facts about a machine that a reader of its figures has to know."""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from benchmarks.harness.question import BENCHMARKS, versions_of

__all__ = ["describe_machine", "in_words", "revision"]

_BUSY = 0.5
"""With a load above it before the first question, others had a share of the processor."""


def describe_machine(distributions: Sequence[str]) -> dict[str, Any]:
    """The machine, what runs on it, and the moment."""
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "commit": revision(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "system": f"{platform.system()} {platform.release()}",
        "load": os.getloadavg()[0],
        "versions": versions_of([*distributions, "pyzmq"]),
    }


def in_words(machine: dict[str, Any]) -> str:
    """Sentences for a page."""
    versions = ", ".join(f"{name} {each}" for name, each in sorted(machine["versions"].items()))
    quiet = "so others were at work" if machine["load"] > _BUSY else "so the machine was quiet"
    return (
        f"Measured on {machine['date']} at commit {machine['commit']}, on {machine['cores']} cores "
        f"({machine['processor']}, {machine['memory']}), {machine['system']}. The load was "
        f"{machine['load']:.1f} at the start, {quiet}. Versions: {versions}."
    )


def revision(name: str = "HEAD") -> str:
    """The commit of the work tree in short, with a plus if files have changed since."""

    def git(*arguments: str) -> str:
        run = ["git", *arguments]
        return subprocess.run(
            run, cwd=BENCHMARKS.parent, check=True, capture_output=True, text=True
        ).stdout.strip()

    try:
        short = git("rev-parse", "--short", f"{name}^{{commit}}")
        changed = name == "HEAD" and git("status", "--porcelain", "--", "distio", "worker")
    except (subprocess.CalledProcessError, FileNotFoundError):
        return "unknown"
    return f"{short}+" if changed else short


def _processor() -> str:
    """Its name, as the kernel tells it."""
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
