"""Fibers that end before the program ends that started them, also if that is cancelled."""

from __future__ import annotations

from functools import partial
from typing import Any

from distio.core.fiber import Handle
from distio.core.ops.base import IO
from distio.core.ops.cancelling import Cancel, OnCancel
from distio.core.ops.concurrency import Parallel, Wait, from_result
from distio.result import Result
from distio.result import zip as zip_results

__all__ = ["cancel_all", "wait_together", "zip_par"]

Program = IO[Any, Any, Any]


def wait_together(handles: tuple[Handle[Any, Any, Any], ...], waiting: Program) -> Program:
    """Do what waits for these fibers; if it is cancelled, cancel them and wait for their ends."""
    return OnCancel(waiting, partial(cancel_all, handles))


def cancel_all(handles: tuple[Handle[Any, Any, Any], ...]) -> Program:
    """Cancel these fibers, and wait until all of them have ended; the value is their Results."""
    return Cancel(handles).then(Wait(handles))


def zip_par(ios: tuple[Any, ...]) -> Program:
    """Start all, wait for all, merge their Results."""
    return Parallel(ios).flat_map(_wait_for_all)


def _wait_for_all(handles: list[Any]) -> Program:
    all_of_them = tuple(handles)
    return wait_together(all_of_them, Wait(all_of_them)).flat_map(_merge)


def _merge(results: list[Result[Any, Any]]) -> Program:
    return from_result(zip_results(results))
