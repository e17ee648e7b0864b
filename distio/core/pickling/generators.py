"""Generators of random numbers in pickles: which are copied, and which aren't.

`random.randint` and `numpy.random.normal` are methods of a generator that their module hides. A
copy of that generator would draw the same numbers in each fiber that takes it along. Such a method
means the generator of the process in which it is called, so it travels by name: the module and its
attribute. So does the hidden generator itself.

Any other generator travels as a copy. A pickle notes those that it has copied: if several fibers
take along one of them, they draw the same numbers, and the program is told so.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib import import_module
from random import SystemRandom
from types import BuiltinMethodType, MethodType, ModuleType
from typing import Any, Final, final

import cloudpickle

__all__ = ["Departures", "Generators", "is_generator", "state_of"]

_PACKAGES: Final = {
    "Random": ("random",),
    "BitGenerator": ("numpy",),
    "Generator": ("numpy", "torch"),
    "RandomState": ("numpy",),
}
"""The classes of generators by name, and the packages that have them. A package that the program
doesn't use is not imported."""
_MOST_REMEMBERED: Final = 64

Reduced = tuple[Callable[..., Any], tuple[Any, ...]]


@final
class Generators:
    """The generators, and the methods of hidden ones, that one pickle reduces."""

    __slots__ = ("_modules", "copied")

    def __init__(self) -> None:
        self.copied: list[Any] = []
        """The generators of which the pickle holds copies."""
        self._modules: dict[type, list[ModuleType]] = {}

    def reduce(self, obj: Any, kind: type) -> Reduced | None:
        """How pickle makes `obj` again; None: in the usual way.

        Args:
            obj: a method, or a generator.
            kind: its type.
        """
        if kind is MethodType or kind is BuiltinMethodType:
            return self._reduce_method(obj)
        return self._reduce_generator(obj)

    def _reduce_method(self, method: Any) -> Reduced | None:
        """A method of an instance that a module hides, by the name that it has in that module."""
        owner, name = method.__self__, getattr(method, "__name__", "")
        if owner is None or isinstance(owner, ModuleType | type):
            return None
        for module in self._modules_of(type(owner)):
            value = vars(module).get(name)
            if type(value) in _METHODS and value == method:
                return _method_of, (module.__name__, name)
        return None

    def _reduce_generator(self, generator: Any) -> Reduced | None:
        if isinstance(generator, SystemRandom):  # there is no state in it to copy
            return (SystemRandom, ()) if type(generator) is SystemRandom else None
        for module in self._modules_of(type(generator)):
            for name, value in [*vars(module).items()]:
                if type(value) in _METHODS and value.__self__ is generator:
                    return _owner_of, (module.__name__, name)
        self.copied.append(generator)
        return None

    def _modules_of(self, kind: type) -> list[ModuleType]:
        found = self._modules.get(kind)
        if found is None:
            found = self._modules[kind] = [*_modules_around(kind)]
        return found


_METHODS: Final = (MethodType, BuiltinMethodType)


def is_generator(kind: type) -> bool:
    """Whether this is a class of generators."""
    for each in kind.__mro__:  # no more than a look at the name, for almost all classes
        packages = _PACKAGES.get(each.__name__)
        if packages and str(each.__module__).partition(".")[0] in packages:
            return True
    return False


# -- by name ----------------------------------------------------------------------------------


def _modules_around(kind: type) -> Iterator[ModuleType]:
    """The module of a class, and the packages around it, as far as others can import them."""
    by_value = cloudpickle.list_registry_pickle_by_value()
    name = str(kind.__module__)
    while name:
        module = sys.modules.get(name)
        is_importable = name != "__main__" and getattr(module, "__spec__", None) is not None
        if isinstance(module, ModuleType) and is_importable and name not in by_value:
            yield module
        name = name.rpartition(".")[0]


def _method_of(module: str, name: str) -> Any:
    return getattr(import_module(module), name)


def _owner_of(module: str, name: str) -> Any:
    return getattr(import_module(module), name).__self__


# -- copies for several fibers ----------------------------------------------------------------


@final
class Departures:
    """The generators of which a fiber has taken a copy along, the latest of them.

    Not all classes of generators have weak references, so these are kept alive, and only a few.
    """

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left: dict[int, Any] = {}

    def note(self, generators: Iterable[Any]) -> list[Any]:
        """Copies of these leave; return those of which one had left before."""
        again = []
        for generator in generators:
            if self._left.pop(id(generator), None) is not None:
                again.append(generator)
            self._left[id(generator)] = generator
        while len(self._left) > _MOST_REMEMBERED:
            del self._left[next(iter(self._left))]
        return again


# -- their state ------------------------------------------------------------------------------


def state_of(generator: Any) -> Any:
    """The state that decides what a generator draws: plain values, equal for equal states."""
    if hasattr(generator, "getstate"):  # of random
        try:
            return generator.getstate()
        except NotImplementedError:  # it has none: SystemRandom
            return None
    if hasattr(generator, "get_state"):  # of NumPy's old ones, and of PyTorch
        return _plain(generator.get_state())
    return _plain(getattr(generator, "bit_generator", generator).state)


def _plain(state: Any) -> Any:
    if isinstance(state, dict):
        return {name: _plain(value) for name, value in state.items()}
    if isinstance(state, Sequence) and not isinstance(state, str):
        return [_plain(value) for value in state]
    if hasattr(state, "numpy"):
        state = state.numpy()
    return state.tobytes() if hasattr(state, "tobytes") else state
