"""Coordinators with keys, on threads of a test."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from distio.runtime.coordinator_options import CoordinatorOptions
from distio.runtime.coordinator_process import CoordinatorProcess
from distio.runtime.keys import make_cluster_keys

__all__ = ["keyed_coordinator", "keys_in"]


def keys_in(folder: Path) -> Path:
    """Make the keys of a cluster."""
    make_cluster_keys(folder)
    return folder


@contextmanager
def keyed_coordinator(keys: Path | None, url: str = "tcp://127.0.0.1:0") -> Iterator[str]:
    """Run a coordinator that asks for keys, and yield its URL; None: it asks for none."""
    process = CoordinatorProcess(url, CoordinatorOptions(keys=keys, is_insecure=keys is None))
    thread = threading.Thread(target=process.run)
    thread.start()
    try:
        yield process.url
    finally:
        process.stop()
        thread.join()
