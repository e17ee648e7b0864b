"""The features of the coordinator: all are listed, and hooks call them in order."""

from __future__ import annotations

import inspect
import pickle
from typing import Any, get_type_hints

import pytest

from distio.coordination.coordinator import Coordinator, Features
from distio.coordination.feature.coordinator import CoordinatorFeature, Hooks

HOOKS = [
    name
    for name, hook in vars(CoordinatorFeature).items()
    if inspect.isfunction(hook) and not name.startswith("_")
]


class Silent(CoordinatorFeature):
    """A feature that has no say in anything."""


class Counts(CoordinatorFeature):
    def __init__(self, name: str, said: list[str]) -> None:
        self.name = name
        self.said = said

    def settle(self) -> None:
        self.said.append(self.name)


class CountsTwice(Counts):
    def settle(self) -> None:
        super().settle()
        super().settle()


def test_list_of_features_has_each_that_there_is() -> None:
    features = {*get_type_hints(Features).values()}
    there_are = {
        each
        for each in CoordinatorFeature.__subclasses__()
        if each.__module__.startswith("distio.")
    }
    assert features == there_are


@pytest.mark.parametrize("name", HOOKS)
def test_hook_is_called_for_the_features_that_have_it(name: str) -> None:
    machine = Coordinator()
    having = [each for each in machine.features if name in vars(type(each))]
    called: list[Any] = [each.__self__ for each in getattr(machine.state.hooks, name)]
    assert called == having


def test_hooks_are_called_in_the_order_of_the_list() -> None:
    said: list[str] = []
    hooks = Hooks([Counts("first", said), Silent(), CountsTwice("second", said)])
    for settle in hooks.settle:
        settle()
    assert said == ["first", "second", "second"]


def test_hooks_that_are_pickled_call_the_features_that_are_pickled_with_them() -> None:
    first = Counts("first", [])
    hooks, copied = pickle.loads(pickle.dumps((Hooks([first]), first)))
    for settle in hooks.settle:
        settle()
    assert copied.said == ["first"]
    assert first.said == []
