"""A notebook's kernel, and what its cells show."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from jupyter_client.manager import KernelManager

from tests.conftest import PATIENCE

__all__ = ["Cell", "Kernel"]


@dataclass
class Cell:
    """The outcome of one cell."""

    id: str
    streams: str = ""
    """The text that was printed there."""
    outputs: dict[str, list[dict[str, str]]] = field(default_factory=dict)
    """By output that can be changed: what it showed, in order."""
    value: dict[str, str] = field(default_factory=dict)
    """The value of the cell, by kind of text."""
    error: str = ""
    """The name of the exception."""


class Kernel:
    """A kernel, in a process of its own that listens to sockets in a directory.

    Args:
        directory: where the kernel works.
    """

    def __init__(self, directory: Path) -> None:
        self._manager = KernelManager(transport="ipc", ip=str(directory / "socket"))
        # with it, the kernel doesn't look at what its child processes write
        env = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
        self._manager.start_kernel(env=env, cwd=str(directory))
        self._client: Any = self._manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=PATIENCE)
        self._cells: dict[str, Cell] = {}
        pid = self._manager.provisioner.pid  # type: ignore[union-attr]  # it is there, and local
        self._process = psutil.Process(pid)

    def run(self, code: str, when: str = "", then: Callable[[], None] | None = None) -> Cell:
        """Run a cell to its end.

        Args:
            code: its text.
            when: what it prints when `then` is to be called.
            then: what is done meanwhile.
        """
        cell = Cell(self._client.execute(code))
        self._cells[cell.id] = cell
        until = time.monotonic() + PATIENCE
        while True:
            message = self._client.get_iopub_msg(timeout=until - time.monotonic())
            parent = message["parent_header"].get("msg_id")
            self._take(message, self._cells.get(parent, cell))
            if then is not None and when in cell.streams:
                then()
                then = None
            if parent == cell.id and message["content"].get("execution_state") == "idle":
                return cell

    def _take(self, message: Any, cell: Cell) -> None:
        kind, content = message["msg_type"], message["content"]
        if kind == "stream":
            cell.streams += content["text"]
        elif kind in ("display_data", "update_display_data"):
            key = content["transient"]["display_id"]
            home = next((each for each in self._cells.values() if key in each.outputs), cell)
            home.outputs.setdefault(key, []).append(content["data"])
        elif kind == "execute_result":
            cell.value = content["data"]
        elif kind == "error":
            cell.error = content["ename"]

    def interrupt(self) -> None:
        """Do what the button of a notebook does."""
        self._manager.interrupt_kernel()

    def stop(self) -> list[psutil.Process]:
        """End it as a notebook does; return the processes of it that are left."""
        processes = self._process.children(recursive=True)
        self._client.stop_channels()
        self._manager.shutdown_kernel()
        return psutil.wait_procs(processes, timeout=PATIENCE)[1]
