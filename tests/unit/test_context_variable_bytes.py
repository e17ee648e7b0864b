"""Context variables as bytes: found by name in another process, or made there once."""

from __future__ import annotations

import decimal
import pickle
import sys
import types
from collections.abc import Iterator
from contextvars import Context, ContextVar
from typing import Any

import cloudpickle
import pytest

from distio import MatchError, carry, io
from distio.core.fiber import Fiber
from distio.core.outcomes import dump_value
from distio.core.pickling import context_vars
from distio.core.snapshot import dump_fibers, load_fibers
from distio.protocol.pieces import joined

user = carry(ContextVar("user", default="nobody"))


def test_variable_of_a_module_travels_by_name() -> None:
    payload = joined(dump_value(user, "it")[0])
    assert pickle.loads(payload) is user
    assert b"test_context_variable_bytes" in payload


@pytest.fixture
def script() -> Iterator[types.ModuleType]:
    """A module that no other process has."""
    module = types.ModuleType("a_script")
    sys.modules["a_script"] = module
    cloudpickle.register_pickle_by_value(module)
    yield module
    cloudpickle.unregister_pickle_by_value(module)
    del sys.modules["a_script"]


def elsewhere(payload: bytes, monkeypatch: pytest.MonkeyPatch, *more: bytes) -> list[Any]:
    """Unpickle as a process does that has never heard of the script."""
    with monkeypatch.context() as there:
        there.setattr(context_vars, "_MADE", {})
        there.setattr(context_vars, "_NAMES", {})
        return [pickle.loads(each) for each in (payload, *more)]


def test_variable_of_a_script_is_made_once_with_its_default(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.request = ContextVar("request", default=("home",))
    payload = joined(dump_value(script.request, "it")[0])
    first, second = elsewhere(payload, monkeypatch, payload)
    assert first is second
    assert first is not script.request
    assert (first.name, first.get()) == ("request", ("home",))


def test_variable_of_a_script_that_comes_home_is_the_scripts(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.request = ContextVar("request")
    payload = joined(dump_value(script.request, "it")[0])
    with monkeypatch.context() as there:
        there.setattr(context_vars, "_MADE", {})
        there.setattr(context_vars, "_NAMES", {})
        copy = pickle.loads(payload)
        assert copy.get("no default") == "no default"
        back = joined(dump_value(copy, "it")[0])
    assert pickle.loads(back) is script.request


def test_script_that_is_changed_has_another_variable(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    payloads = []
    for default in ("old", "new"):
        script.request = ContextVar("request", default=default)
        payloads.append(joined(dump_value(script.request, "it")[0]))
    old, new = elsewhere(payloads[0], monkeypatch, payloads[1])
    assert (old.get(), new.get()) == ("old", "new")


def test_variable_with_another_name_than_its_attribute_is_found(script: Any) -> None:
    script.request = ContextVar("the request that is served", default=1)
    payload = joined(dump_value(script.request, "it")[0])
    assert pickle.loads(payload) is script.request


def test_variable_that_a_script_has_imported_travels_as_that_of_its_module(script: Any) -> None:
    script.user = user
    payload = joined(dump_value(user, "it")[0])
    assert b"a_script" not in payload


def test_variable_that_is_carried_arrives_as_one(
    script: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    script.registered = carry(ContextVar("registered"))
    script.other = ContextVar("other")
    payloads = [joined(dump_value(var, "it")[0]) for var in (script.registered, script.other)]
    registered, other = elsewhere(payloads[0], monkeypatch, payloads[1])
    fiber = Fiber(1, 1, io.pure(1), None)
    fiber.variables = Context()
    for var in (registered, other):
        fiber.variables.run(var.set, "set there")
    for var, name in ((registered, "registered"), (other, "other")):
        setattr(script, name, var)
    payload, _ = dump_fibers([fiber])
    (copy,) = load_fibers(1, [(1, 1)], payload)
    assert copy.variables is not None
    assert dict(copy.variables) == {registered: "set there"}


def test_decimal_default_context_takes_no_bytes() -> None:
    def size(variables: Context | None) -> int:
        fiber = Fiber(1, 1, io.pure(1), None)
        fiber.variables = variables
        return len(dump_fibers([fiber])[0])

    used = Context()
    used.run(decimal.getcontext)
    assert size(used) == size(None)


@pytest.mark.parametrize("wrong", ["user", None, io.Local("user", None)])
def test_carry_refuses_a_value_that_is_no_context_variable(wrong: Any) -> None:
    with pytest.raises(MatchError, match="carry: expected a ContextVar, but got"):
        carry(wrong)
