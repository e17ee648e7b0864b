"""Whether two programs are the same, also if they were made in two processes: by a digest.

A pickle won't do: it says which process defined a class, and the order of a set depends on the
process. So a program is pickled in another way, only to be digested:

- what is found by its name in a module counts by that name; modules that aren't installed count by
  their text as well, and so do those that they import;
- other functions and classes count by what they are: code, captured and default values, the global
  variables that they name, attributes. It makes no difference on which lines of which file they
  stand, nor how the module is called;
- exceptions count by their arguments and attributes, and not by where they were raised;
- all else counts by how it is pickled; a set counts by its members, in any order.
"""

from __future__ import annotations

import dis
import hashlib
import pickle
from contextvars import ContextVar
from types import CodeType, ModuleType
from typing import TYPE_CHECKING, Any, Final, final

from distio.core.pickling import classes, functions
from distio.core.pickling.classes import OF_LINES
from distio.core.pickling.code import codes_in
from distio.core.pickling.finding import find_module
from distio.core.pickling.modules import Reach, sources_of
from distio.core.pickling.named import NAMED_KINDS
from distio.core.pickling.pickler import Pickler
from distio.core.pickling.scope import Scope, is_dunder
from distio.core.pickling.spaces import current_space
from distio.errors import TracedException

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import FunctionType

__all__ = ["program_digest"]

_DIGEST_BYTES: Final = 16
_NOWHERE: Final = Reach()
_NOWHERE.add(None, None)  # so that no module counts as found


def program_digest(program: Any) -> bytes:
    """Tells a program from others.

    >>> program_digest({"a", "b"}) == program_digest({"b", "a"})
    True
    >>> program_digest(lambda: 1) == program_digest(lambda: 2)
    False

    Raises:
        Exception: something in it can't be pickled.
    """
    scope = Scope(current_space(), is_trial=True)
    hashed = _Hashed()
    _ProgramPickler(hashed, scope).dump(program)
    for source in sources_of(scope.modules, _NOWHERE, scope.space.sources.came):
        hashed.write(f"{source.name}\0{source.text}\0".encode(errors="surrogatepass"))
    return hashed.digest()


@final
class _Hashed:
    """A file that keeps nothing but a digest of what is written."""

    def __init__(self) -> None:
        self._hash = hashlib.blake2b(digest_size=_DIGEST_BYTES)

    def write(self, data: Any) -> int:
        # pickle writes the memory of arrays as it is, in whatever order of their items
        whole = data.raw() if isinstance(data, pickle.PickleBuffer) else memoryview(data)
        self._hash.update(whole)
        return whole.nbytes

    def digest(self) -> bytes:
        return self._hash.digest()


@final
class _ProgramPickler(Pickler):
    """Writes what is to be compared; nobody opens it."""

    def __init__(self, file: Any, scope: Scope, within: tuple[int, ...] = ()) -> None:
        super().__init__(file, scope, defines=True)
        self._within = within
        """The sets of which a part is being written."""

    def persistent_id(self, obj: Any) -> Any:
        """Write an object for pickle; sets are written in an order of their own.

        Pickle writes an object once, and refers to it later. Whether equal texts are one object is
        a matter of the process, so each is written wherever it stands.
        """
        kind = type(obj)
        if kind is str or kind is bytes:
            return _number_of(obj)
        if kind is not set and kind is not frozenset:
            return None
        if id(obj) in self._within:
            return kind.__name__, "itself"
        return kind.__name__, sorted(map(self._digest_of, obj, [id(obj)] * len(obj)))

    def _digest_of(self, part: Any, within: int) -> bytes:
        hashed = _Hashed()
        _ProgramPickler(hashed, self.scope, (*self._within, within)).dump(part)
        return hashed.digest()

    def reducer_override(self, obj: Any) -> Any:
        """Reduce an object that is of no built-in type, for pickle."""
        if isinstance(obj, type):
            return self.reduce_class(obj)
        if isinstance(obj, CodeType):
            return bytes, (_digest_of_code(obj),)
        if isinstance(obj, ModuleType):
            return self.reduce_module(obj)
        if isinstance(obj, BaseException):
            parts = obj.args, obj.__cause__, obj.__context__, vars(obj)
            return _instance, (type(obj),), parts
        if type(obj) is TracedException:
            return _instance, (TracedException,), obj.exception  # wherever it was raised
        reduced = super().reducer_override(obj)
        return self._without_module(obj, reduced) if isinstance(reduced, tuple) else reduced

    def _without_module(self, obj: Any, reduced: tuple[Any, ...]) -> tuple[Any, ...]:
        """Leave out how the module of a script is called."""
        make, arguments, *state = reduced
        if type(obj) in NAMED_KINDS:
            arguments = tuple(None if each == obj.__module__ else each for each in arguments)
        elif type(obj) is ContextVar and arguments and arguments[0].default is not None:
            arguments = arguments[0]._replace(module=""), *arguments[1:]
        if state and isinstance(state[0], dict):  # a wrapper of a function has its attributes
            state[0] = {**state[0], "__module__": None}
        return make, arguments, *state

    def reduce_function(self, f: FunctionType) -> Any:
        reduced = super().reduce_function(f)
        if reduced is NotImplemented or reduced[0] is not functions.make:
            return reduced
        make, (code, _, *rest), *others = reduced
        state = {**(others[0] if others else {}), "__globals__": self._globals_of(f)}
        state.pop("__module__", None)  # of a wrapper: that of what it wraps
        state.pop(functions.SUBMODULES, None)  # what others have imported
        return make, (code, *rest), state

    def _get_to_know(self, f: FunctionType) -> Any:
        # code that reads nothing of its namespace is reduced like any other
        known = super()._get_to_know(f)._replace(code=_digest_of_code(f.__code__), is_free=False)
        self._known[id(f.__code__)] = known
        return known

    def _globals_of(self, f: FunctionType) -> list[tuple[str, Any]]:
        """The global variables that the function names, and what they are."""
        names = f.__globals__
        used = self._known[id(f.__code__)].facts.names
        return [(name, names[name]) for name in used if name in names and not is_dunder(name)]

    def reduce_module(self, module: ModuleType) -> Any:
        find, (_, name) = super().reduce_module(module)
        if find is find_module:
            return find, (module.__name__,)  # whichever function uses it
        namespace = self.scope.namespace(vars(module))
        return find, (name,), [(name, namespace.names[name]) for name in namespace.needed]

    def reduce_class(self, cls: type) -> Any:
        reduced = super().reduce_class(cls)
        if reduced is NotImplemented or reduced[0] is not classes.make:
            return reduced
        make, (_, _, *parts, initial), state, *_ = reduced
        del initial["__module__"]
        state = {name: value for name, value in state.items() if name not in OF_LINES}
        return make, (*parts, initial), state


def _number_of(text: str | bytes) -> int:
    """Stands for a text: pickle asks nothing about numbers, and never refers to one."""
    if isinstance(text, str):
        kind, data = b"text", text.encode(errors="surrogatepass")
    else:
        kind, data = b"bytes", text
    return int.from_bytes(hashlib.blake2b(data, digest_size=_DIGEST_BYTES, person=kind).digest())


def _instance(kind: type) -> None:
    """Stands for an object whose state follows; nobody calls it."""


def _digest_of_code(code: CodeType) -> bytes:
    """The digest of a code object's instructions, wherever the code stands."""
    hashed = _Hashed()
    for each in codes_in(code):
        facts = (
            *_instructions_of(each),
            each.co_exceptiontable,
            each.co_names,
            each.co_varnames,
            each.co_freevars,
            each.co_cellvars,
            each.co_flags,
            each.co_argcount,
            each.co_posonlyargcount,
            each.co_kwonlyargcount,
            each.co_qualname,
        )
        hashed.write(repr(facts).encode(errors="surrogatepass"))
    return hashed.digest()


def _instructions_of(code: CodeType) -> Iterable[Any]:
    """The instructions of a code object and their constants, without its place in a file.

    The body of a class loads its line and stores it. The line is a part of the instruction, or a
    constant, which moves the others: so each instruction counts with its constant, but for these.
    """
    if OF_LINES[0] not in code.co_names:
        return code.co_code, [*map(_constant, code.co_consts)]
    steps: list[tuple[int, Any]] = []
    for each in dis.get_instructions(code):
        if each.argval in OF_LINES and each.opname.startswith("STORE"):
            steps.pop()  # what loads the value
        elif each.opcode in dis.hasconst:
            steps.append((each.opcode, _constant(each.argval)))
        else:
            steps.append((each.opcode, each.arg))
    return steps


def _constant(const: Any) -> str:
    if isinstance(const, frozenset):
        return f"frozenset {sorted(map(_constant, const))}"
    if type(const) is tuple:
        return f"tuple {[*map(_constant, const)]}"
    if hasattr(const, "co_code"):
        return "code"  # it is looked at as well
    return f"{type(const).__name__} {const!r}"
