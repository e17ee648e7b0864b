"""The types of the functions of `io` by their other names: nothing here runs."""

from __future__ import annotations

from typing import Any, Never, assert_type

import distio as d
from distio import io


def spelling(five: d.IO[int, str, int]) -> None:
    assert_type(d.pure(5).flat_map(lambda n: d.pure(str(n))), d.IO[Any, Never, str])
    assert_type(d.zip_par([five, five]), d.IO[int, str, list[int]])
    assert_type(d.__version__, str)
    same: type[io.Scope] = d.Scope
    assert_type(same, type[d.Scope])
    d.gather  # type: ignore[attr-defined]  # noqa: B018 # pyright: ignore[reportAttributeAccessIssue]
