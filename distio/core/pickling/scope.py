"""The scope of one dump: the namespaces of functions, and what the functions need of each."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable
from functools import lru_cache
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, Final, final

from distio.core.pickling import modules
from distio.core.pickling.code import CodeFacts, Import
from distio.core.pickling.generators import Generators
from distio.protocol.pieces import Bytes

if TYPE_CHECKING:
    from distio.core.fiber import Handle
    from distio.core.pickling.spaces import ObjectSpace
    from distio.core.references import Reference

__all__ = [
    "HEADING",
    "MISSING",
    "ORIGIN",
    "Namespace",
    "Scope",
    "find",
    "is_dunder",
    "text_hints",
    "words_in",
]

MISSING: Final = object()
ORIGIN: Final = "__distio_origin__"
"""The global variable in which an arrived namespace keeps where it was defined first."""
_DUNDERS: Final = ("__name__", "__package__", "__file__", "__path__", "__doc__")
HEADING: Final = (*_DUNDERS, "__spec__", ORIGIN)
"""The variables of which the heading of a namespace is made."""
_WORD: Final = re.compile(r"[^\W\d]\w*")


def find(names: dict[str, Any], dotted: str) -> Any:
    """The value that `dotted` names in a namespace, or MISSING."""
    first, *rest = dotted.split(".")
    found = names.get(first, MISSING)
    for name in rest:
        if found is MISSING:
            break
        found = vars(found).get(name, MISSING) if isinstance(found, type) else MISSING
    return found


@final
class Namespace:
    """The global variables of one module, and which of them a dump needs."""

    def __init__(
        self, index: int, names: dict[str, Any], origin: tuple[bytes, str, int | None]
    ) -> None:
        self.index = index
        self.names = names
        self.origin = origin
        """The process, the module and the generation in which it was defined first."""
        self.needed: dict[str, FunctionType | None] = {}
        """Names, and for each the function that uses it, if one does."""
        self.taken: dict[str, Any] = {}
        """The variables that were dumped: another thread may set a variable meanwhile."""

    def need(self, name: str, by: FunctionType | None = None) -> None:
        """The variable of this name is to be defined."""
        if name not in self.needed:
            self.needed[name] = by

    def need_for(
        self, f: FunctionType, facts: CodeFacts, can_travel: Callable[[Any], bool]
    ) -> None:
        """Note that all variables which a function may read are needed."""
        names, needed = self.names, self.needed
        for name in facts.names:
            if name in names and name not in needed:
                needed[name] = f
        if texts := text_hints(f) + facts.texts:
            self._need_if(words_in(texts), can_travel, f)

    def need_for_hints(self, hints: Iterable[str], can_travel: Callable[[Any], bool]) -> None:
        """Note the names in annotations that are text, for callers that ask for the types."""
        self._need_if(words_in(hints), can_travel)

    def _need_if(
        self,
        words: Iterable[str],
        can_travel: Callable[[Any], bool],
        by: FunctionType | None = None,
    ) -> None:
        """Note those of these names that can travel: nothing says that they are used."""
        for name in words:
            is_open = name in self.names and name not in self.needed and not is_dunder(name)
            if is_open and can_travel(self.names[name]):
                self.need(name, by)

    def need_definitions(self) -> None:
        """Functions, classes and plain values are to be defined: the module itself travels."""
        for name, value in self.names.items():
            if isinstance(value, FunctionType | type | str | int | float | bool | None):
                self.need(name)

    def take(self) -> dict[str, Any]:
        """Take the variables that have become needed since the last time."""
        fresh = {
            name: self.names[name]
            for name in self.needed
            if name not in self.taken and name in self.names and not is_dunder(name)
        }
        self.taken.update(fresh)
        return fresh

    def key(self) -> tuple[Any, ...]:
        """The key of the namespace as long as it lives, by what is needed of it and by whom.

        A function counts as far as messages name it: as the user of a module that may be missing.
        """
        users = [
            id(by.__code__)
            for name, by in self.needed.items()
            if by is not None and _may_be_missing(self.names.get(name))
        ]
        return id(self.names), self.origin, (*self.needed,), (*users,)

    def defined(self) -> dict[tuple[str, str], Any]:
        """By module and name, the variables that were taken, if this process defines them."""
        _, module, generation = self.origin
        if generation is not None:
            return {}
        return {(module, name): value for name, value in self.taken.items()}

    def heading(self, generation: int) -> tuple[tuple[bytes, str, int], dict[str, Any], Any]:
        """The heading of a namespace, which is always sent: its origin, its dunders, its spec."""
        names = self.names
        token, module, known = self.origin
        dunders = {name: names[name] for name in _DUNDERS if _is_plain(names.get(name))}
        spec = names.get("__spec__")
        if spec is not None:
            parts = spec.submodule_search_locations
            spec = (spec.name, spec.origin, None if parts is None else list(parts))
        return (token, module, generation if known is None else known), dunders, spec


def _may_be_missing(value: Any) -> bool:
    return type(value) is ModuleType and not value.__name__.startswith("distio.")


def _is_plain(value: Any) -> bool:
    return isinstance(value, str) or (
        isinstance(value, list) and all(isinstance(part, str) for part in value)
    )


def is_dunder(name: str) -> bool:
    """Whether a variable is of the module itself, and isn't defined by a bundle."""
    return name == ORIGIN or name in _DUNDERS or name in ("__builtins__", "__spec__", "__loader__")


def text_hints(f: FunctionType) -> list[str]:
    """The annotations of a function that are text."""
    try:
        return [hint for hint in f.__annotations__.values() if type(hint) is str]
    except NameError:  # evaluated when asked for, and a name isn't there yet
        return []


def words_in(texts: Iterable[str]) -> list[str]:
    """All words in some texts that may be names."""
    return [word for text in texts for word in _words_of(text)]


@lru_cache(maxsize=1024)
def _words_of(text: str) -> tuple[str, ...]:
    """The words of a text; kept, as the same functions are pickled again and again."""
    return tuple(_WORD.findall(text))


@final
class Scope:
    """Shared by the picklers of one dump."""

    def __init__(
        self, space: ObjectSpace, *, is_strict: bool = False, is_trial: bool = False
    ) -> None:
        self.space = space
        self.is_strict = is_strict
        """Whether all exceptions have to arrive whole."""
        self.is_trial = is_trial
        """Whether nobody will open what is dumped."""
        self.apart: dict[bytes, Bytes] | None = None
        """By digest, the code that stays apart; None: none does."""
        self.handles: list[Handle[Any, Any, Any]] = []
        self.references: list[Reference] = []
        self.generators = Generators()
        self.defines_classes = False
        """Whether a class is made where this is opened: that takes care."""
        self.modules: dict[str, None] = {}
        """Modules that something names, and that a worker may not be able to import."""
        self.code: dict[int, Any] = {}
        """By identity: functions and classes that are only named, but for those of Python."""
        self._namespaces: dict[int, Namespace] = {}
        self._travels: dict[str, bool] = {}
        """By module: whether what it defines travels by name."""

    @property
    def namespaces(self) -> list[Namespace]:
        """The namespaces, in the order of their indexes."""
        return list(self._namespaces.values())

    def namespace(self, names: dict[str, Any]) -> Namespace:
        """The namespace with these global variables."""
        found = self._namespaces.get(id(names))
        if found is None:
            found = Namespace(len(self._namespaces), names, self._origin_of(names))
            self._namespaces[id(names)] = found
        return found

    def _origin_of(self, names: dict[str, Any]) -> tuple[bytes, str, int | None]:
        """The process, the module and the generation, if that is known already."""
        origin = names.get(ORIGIN)
        if origin is not None:
            token, module_name, generation = origin
            return token, module_name, generation
        name = str(names.get("__name__", ""))
        module = sys.modules.get(name)
        is_module = module is not None and vars(module) is names
        return self.space.token, name if is_module else f"{name}#{id(names)}", None

    def home_of(self, obj: Any) -> Namespace | None:
        """The namespace of the module that a class, or the like, is defined in."""
        name = getattr(obj, "__module__", None)
        found = self.space.all_names_of(name) if isinstance(name, str) else []
        by_name = getattr(obj, "__qualname__", "")
        names = next((each for each in found if find(each, by_name) is obj), None)
        if names is None:
            names = found[0] if found else None
        return None if names is None else self.namespace(names)

    def user_of(self, module: ModuleType) -> str:
        """A function that has a module, or the package of it, among its global variables.

        It is empty if nobody has to know.
        """
        if not _may_be_missing(module):
            return ""
        package = sys.modules.get(module.__name__.partition(".")[0], module)
        return next(
            (
                f"the function {by.__qualname__} "
                f"({by.__code__.co_filename}:{by.__code__.co_firstlineno})"
                for namespace in self.namespaces
                for name, by in namespace.needed.items()
                if by and any(namespace.names.get(name) is each for each in (module, package))
            ),
            "",
        )

    def by_name(self, obj: Any, name: str) -> bool:
        """Whether a worker finds this function or class by its module and this name."""
        module_name = getattr(obj, "__module__", None)
        if not isinstance(module_name, str) or not self.travels_by_name(module_name):
            return False
        found: Any = sys.modules[module_name]
        for part in name.split("."):
            found = getattr(found, part, MISSING)
        return found is obj

    def note_code(self, obj: Any) -> None:
        """A function or class is only named: it is to be the same where the pickle is opened.

        Of another object that is only named, such as a sentinel, the class is.
        """
        named = obj if hasattr(obj, "__qualname__") else type(obj)
        if not modules.is_of_python(str(named.__module__)):
            self.code[id(named)] = named

    def note_imports(self, imports: Iterable[Import], package: Any) -> None:
        """Code that travels by value imports these modules when it runs."""
        for each in imports:
            for name in each.modules(package if isinstance(package, str) else None):
                if not modules.is_of_python(name):
                    self.modules[name] = None

    def travels_by_name(self, module_name: str) -> bool:
        """Whether what this module defines is found by name elsewhere; noted if it may be."""
        known = self._travels.get(module_name) or module_name in modules.OURS
        if not known and module_name not in self._travels:
            module = sys.modules.get(module_name)
            known = isinstance(module, ModuleType) and modules.travels_by_name(module)
            self._travels[module_name] = known
            if known and not modules.is_everywhere(module_name):
                self.modules[module_name] = None
        return known
