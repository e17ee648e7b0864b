"""Exceptions to plain data and back, whatever their classes are like.

Pickle makes an exception again by calling its class with `args`, which fails for each class whose
constructor takes something else, and it forgets causes. Here an exception is made without its
constructor: `__new__` of the nearest built-in class makes the object, and its attributes, slots and
the fields that built-in classes keep in C are put back. A class that says itself how it is pickled
is asked first.

Each exception has bytes of its own, so that one that can't be opened harms nothing around it: a
`ForeignException` takes its place. An exception refers to others by numbers, never by nesting, so
neither long chains nor circles of causes make anything recurse.
"""

from __future__ import annotations

import copyreg
import pickle
from collections.abc import Callable, Iterator
from io import BytesIO
from types import MemberDescriptorType
from typing import Any, Final, NamedTuple, final

from distio.core.pickling.plain import PLAIN
from distio.errors import ForeignException

__all__ = ["ExceptionReader", "ExceptionWriter", "restore_exception"]

Dump = Callable[[Any, Callable[[Any], int | None]], bytes]
"""Pickles an object, and writes the number of each object in it that this function has one for."""

_HEAP_TYPE: Final = 1 << 9
"""The flag of classes that a `class` statement makes (Py_TPFLAGS_HEAPTYPE)."""
_FIELDS: Final = vars(BaseException)
_HAVE_NO_FIELDS_TO_SET: Final = BaseException, BaseExceptionGroup
_COMPUTED_FIELD: Final = OSError, "characters_written"
_HOLDS_ANY_OBJECT: Final = AttributeError, "obj"
"""The object without the attribute is left behind: it may be anything, a socket or a gigabyte."""


@final
class PackedClass:
    """The bytes of a class, opened once for all exceptions of one pickle."""

    __slots__ = ("_opened", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        self._opened: type | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return PackedClass, (self.payload,)

    def open(self, reader: ExceptionReader) -> Any:
        if self._opened is None:
            self._opened = reader.load(self.payload)
        return self._opened


@final
class PackedException(NamedTuple):
    """One exception; the others that belong to it are named by their numbers."""

    type_name: str
    message: str
    cause: int | None
    context: int | None
    suppresses_context: bool
    notes: list[str]
    kind: PackedClass
    group: tuple[str, list[int]] | None
    """The message and the exceptions of an exception group."""
    state: Any
    """`_State`, or the bytes of one; empty if it can't be pickled."""
    own_maker: bytes
    """The class's own maker of the object, pickled: a function and its arguments. Empty: none."""
    own_state: bytes
    """The class's own state, pickled, which is put back after that. Empty: none."""


_OWN_WAYS: Final = (
    "__reduce_ex__",
    "__reduce__",
    "__getnewargs_ex__",
    "__getnewargs__",
    "__getstate__",
    "__setstate__",
)

_State = tuple[tuple[Any, ...], list[tuple[int, str, Any]], dict[str, Any]]
"""`args`; slots and fields in C, by the place of their class in the order of bases; attributes."""
_OwnState = tuple[Any, Any, Any, Any, Any]
"""`args` if no maker sees to them, and what `__reduce__` returns after the maker: state, items,
pairs, setter."""


# -- to data ----------------------------------------------------------------------------------


@final
class ExceptionWriter:
    """Packs the exceptions of one pickle; each is packed once."""

    def __init__(self, dump: Dump, *, is_strict: bool = False) -> None:
        self._dump_with = dump
        self._is_strict = is_strict
        """Whether to refuse an exception that would arrive as a `ForeignException`."""
        self._reader = ExceptionReader()
        self._found: list[BaseException] = []
        """By number; kept, so that no other object has the id of one of them."""
        self._numbers: dict[int, int] = {}
        self._written = 0
        self._classes: dict[type, PackedClass] = {}
        self._fields: dict[type, list[tuple[int, str, Any]]] = {}
        self._own_ways: dict[type, bool] = {}
        """Whether a class says itself how it is pickled."""
        self._reasons: dict[int, Exception] = {}
        """The reasons why exceptions can't be packed."""
        self._replaceable: set[int] = set()

    def reduce(self, exception: BaseException) -> tuple[Any, ...]:
        """How pickle is to make this exception again.

        Raises:
            Exception: the writer is strict and something in it can't be pickled.
        """
        number = self._number(exception)
        packed = []
        while self._written < len(self._found):  # packing one may find others
            packed.append(self._packed(self._written))
            self._written += 1
        if self._is_strict and number in self._reasons and number not in self._replaceable:
            raise self._reasons[number]
        return restore_exception, (self._reader, packed, number)

    def allow_replacement(self, exception: BaseException) -> None:
        """Let this exception arrive as a `ForeignException` in any case."""
        self._replaceable.add(self._number(exception))

    def _number(self, exception: BaseException) -> int:
        number = self._numbers.setdefault(id(exception), len(self._found))
        if number == len(self._found):
            self._found.append(exception)
        return number

    def _reference(self, obj: Any) -> int | None:
        return self._number(obj) if isinstance(obj, BaseException) else None

    def _dump(self, obj: Any) -> bytes:
        return self._dump_with(obj, self._reference)

    def _packed(self, number: int) -> PackedException:
        exception = self._found[number]
        kind = type(exception)
        own_maker = own_state = state = b""
        try:
            own_maker, own_state = self._own_way(exception)
        except Exception as reason:  # noqa: BLE001 (then its fields have to do)
            self._reasons[number] = reason
        try:
            state = self._packed_state(exception)
            if not own_maker:
                self._pack_class(kind)
            self._reasons.pop(number, None)
        except Exception as reason:  # noqa: BLE001 (what its class says has to do, or its text)
            if not (own_maker or own_state):
                self._reasons[number] = reason
        return PackedException(
            type_name=f"{kind.__module__}.{kind.__qualname__}".removeprefix("builtins."),
            message=_text_of(exception),
            cause=self._reference(exception.__cause__),
            context=self._reference(exception.__context__),
            suppresses_context=exception.__suppress_context__,
            notes=_notes_of(exception),
            kind=self._class(kind),
            group=self._group(exception),
            state=state,
            own_maker=own_maker,
            own_state=own_state,
        )

    def _pack_class(self, kind: type) -> None:
        if kind not in self._classes:
            self._classes[kind] = PackedClass(self._dump(kind))

    def _class(self, kind: type) -> PackedClass:
        try:
            self._pack_class(kind)
        except Exception:  # noqa: BLE001 (its name has to do)
            self._classes[kind] = PackedClass(b"")
        return self._classes[kind]

    def _group(self, exception: BaseException) -> tuple[str, list[int]] | None:
        if not isinstance(exception, BaseExceptionGroup):
            return None
        return exception.message, [self._number(part) for part in exception.exceptions]

    def _packed_state(self, exception: BaseException) -> Any:
        args, attributes = _FIELDS["args"].__get__(exception), dict(exception.__dict__)
        fields = list(_set_fields(exception, self._fields_of(type(exception))))
        values = [*args, *attributes.values(), *[value for _, _, value in fields]]
        state: _State = args, fields, attributes
        # plain values can always be opened: most exceptions have no others
        return state if all(type(value) in PLAIN for value in values) else self._dump(state)

    def _fields_of(self, kind: type) -> list[tuple[int, str, Any]]:
        if kind not in self._fields:
            self._fields[kind] = list(_fields_of(kind))
        return self._fields[kind]

    def _has_own_way(self, kind: type) -> bool:
        if kind not in self._own_ways:
            is_registered = kind in copyreg.dispatch_table
            self._own_ways[kind] = is_registered or any(_is_own(kind, name) for name in _OWN_WAYS)
        return self._own_ways[kind]

    def _own_way(self, exception: BaseException) -> tuple[bytes, bytes]:
        """The class's own way of pickling an exception: the maker, and the state."""
        kind = type(exception)
        if not self._has_own_way(kind):
            return b"", b""
        maker, state = _own_maker(exception, kind)
        if state is None and (_is_own(kind, "__setstate__") or _is_own(kind, "__getstate__")):
            has_getter = _is_own(kind, "__getstate__")
            inner = exception.__getstate__() if has_getter else dict(exception.__dict__)
            args = _FIELDS["args"].__get__(exception) if maker is None else None
            state = args, inner, None, None, None
        return (
            b"" if maker is None else self._dump(maker),
            b"" if state is None else self._dump(state),
        )


def _fields_of(kind: type) -> Iterator[tuple[int, str, Any]]:
    """Slots, and what built-in classes keep in C: the place of their class, name, descriptor."""
    for place, base in enumerate(kind.__mro__):
        if base in _HAVE_NO_FIELDS_TO_SET:
            continue
        for name, field in vars(base).items():
            is_field = type(field) is MemberDescriptorType or (base, name) == _COMPUTED_FIELD
            if is_field and (base, name) != _HOLDS_ANY_OBJECT:
                yield place, name, field


def _set_fields(
    exception: BaseException, fields: list[tuple[int, str, Any]]
) -> Iterator[tuple[int, str, Any]]:
    for place, name, field in fields:
        try:
            value = field.__get__(exception)
        except AttributeError:  # never set
            continue
        if value is not None:
            yield place, name, value


def _own_maker(
    exception: BaseException, kind: type
) -> tuple[tuple[Any, ...] | None, _OwnState | None]:
    reduce = copyreg.dispatch_table.get(kind)
    if reduce is not None:
        reduced: Any = reduce(exception)
    elif _is_own(kind, "__reduce_ex__") or _is_own(kind, "__reduce__"):
        reduced = exception.__reduce_ex__(pickle.HIGHEST_PROTOCOL)
    elif _is_own(kind, "__getnewargs_ex__"):
        args, kwargs = exception.__getnewargs_ex__()  # type: ignore[attr-defined]  # it has it
        return (copyreg.__newobj_ex__, (kind, args, kwargs)), None  # type: ignore[attr-defined]  # typeshed lacks it
    elif _is_own(kind, "__getnewargs__"):
        args = exception.__getnewargs__()  # type: ignore[attr-defined]  # it has it
        return (copyreg.__newobj__, (kind, *args)), None  # type: ignore[attr-defined]  # typeshed lacks it
    else:
        return None, None
    if isinstance(reduced, str):  # the name of a constant of its module
        return (_constant, (kind.__module__, reduced)), (None,) * 5
    function, args, *rest = reduced
    state, items, pairs, setter = [*rest, None, None, None, None][:4]
    items, pairs = [items and [*items], pairs and [*pairs]]  # they may be iterators
    return (function, args), (None, state, items, pairs, setter)


def _is_own(kind: type, name: str) -> bool:
    """Whether this method is that of a class that somebody has written, and not built in."""
    owner = next((base for base in kind.__mro__ if name in vars(base)), object)
    return bool(owner.__flags__ & _HEAP_TYPE)


def _text_of(exception: BaseException) -> str:
    try:
        return str(exception)
    except Exception as error:  # noqa: BLE001 (a broken __str__ must not hide the exception)
        return f"<the text of the exception is not to be had: {type(error).__name__}>"


def _notes_of(exception: BaseException) -> list[str]:
    notes = getattr(exception, "__notes__", ())
    return [note for note in notes if type(note) is str] if isinstance(notes, list) else []


# -- and back ---------------------------------------------------------------------------------


def restore_exception(
    reader: ExceptionReader, packed: list[PackedException], number: int
) -> BaseException:
    """Make an exception, and all that come with it for the first time."""
    reader.add(packed)
    return reader.exception(number)


@final
class ExceptionReader:
    """Makes the exceptions of one pickle."""

    def __init__(self) -> None:
        self._packed: list[PackedException] = []
        self._made: dict[int, BaseException] = {}
        self._making: set[int] = set()
        self._without_own_way: set[int] = set()
        """Exceptions for which what their class says has failed."""
        self._foreign: set[int] = set()
        """Exceptions that can't be made in this process."""

    def __reduce__(self) -> tuple[Any, ...]:
        return ExceptionReader, ()

    def add(self, packed: list[PackedException]) -> None:
        """Make some more, and fill them when all are there."""
        first = len(self._packed)
        self._packed += packed
        numbers = range(first, len(self._packed))
        while not self._make(numbers):
            pass  # one more had to be made in another way, and others may refer to it

    def _make(self, numbers: range) -> bool:
        for number in numbers:
            self._made.pop(number, None)
        for number in reversed(numbers):  # parts come after the whole
            self.exception(number)
        failed = [number for number in numbers if not self._is_filled(number)]
        for number in failed:
            is_own = number not in self._without_own_way
            (self._without_own_way if is_own else self._foreign).add(number)
        return not failed

    def exception(self, number: int) -> BaseException:
        """The exception of this number.

        Raises:
            ValueError: making it needs itself.
        """
        made = self._made.get(number)
        if made is not None:
            return made
        if number in self._making:
            raise ValueError("this exception is made of itself")
        self._making.add(number)
        try:
            made = self._made[number] = self._new(number)
        finally:
            self._making.discard(number)
        return made

    def load(self, payload: bytes) -> Any:
        """Open bytes that may refer to exceptions."""
        return _Unpickler(payload, self).load()

    def _new(self, number: int) -> BaseException:
        packed = self._packed[number]
        if packed.own_maker and number not in self._without_own_way:
            made = self._made_by_its_class(packed)
            if made is not None:
                return made
            self._without_own_way.add(number)
        if number not in self._foreign:
            try:
                return self._bare(packed)
            except Exception:  # noqa: BLE001 (then its text has to do)
                self._foreign.add(number)
        return ForeignException(packed.type_name, packed.message)

    def _made_by_its_class(self, packed: PackedException) -> BaseException | None:
        try:
            function, args = self.load(packed.own_maker)
            made = function(*args)
        except Exception:  # noqa: BLE001 (then it is made without its class' help)
            return None
        return made if isinstance(made, BaseException) else None

    def _bare(self, packed: PackedException) -> BaseException:
        """An object of its class, made without its constructor."""
        kind = packed.kind.open(self)
        native = next(base for base in kind.__mro__ if not base.__flags__ & _HEAP_TYPE)
        arguments: tuple[Any, ...] = ()
        if packed.group is not None:
            message, parts = packed.group
            arguments = message, [self.exception(part) for part in parts]
        made: BaseException = native.__new__(kind, *arguments)
        return made

    def _is_filled(self, number: int) -> bool:
        packed, made = self._packed[number], self._made[number]
        try:
            if number in self._foreign:
                for note in packed.notes:
                    made.add_note(note)
            elif packed.own_state and number not in self._without_own_way:
                _put_own_state(made, self.load(packed.own_state), packed.notes)
            else:
                is_open = type(packed.state) is not bytes
                _put_state(made, packed.state if is_open else self.load(packed.state))
        except Exception:  # noqa: BLE001 (it is made in another way)
            return False
        for name, other in (("__cause__", packed.cause), ("__context__", packed.context)):
            if other is not None:
                # not setattr: a class may forbid that
                _FIELDS[name].__set__(made, self.exception(other))
        _FIELDS["__suppress_context__"].__set__(made, packed.suppresses_context)
        return True


@final
class _Unpickler(pickle.Unpickler):
    def __init__(self, payload: bytes, reader: ExceptionReader) -> None:
        super().__init__(BytesIO(payload))
        self._reader = reader

    def persistent_load(self, number: int) -> BaseException:
        return self._reader.exception(number)


def _put_state(made: BaseException, state: _State) -> None:
    args, fields, attributes = state
    _FIELDS["args"].__set__(made, args)
    made.__dict__.update(attributes)
    for place, name, value in fields:
        vars(type(made).__mro__[place])[name].__set__(made, value)


def _put_own_state(made: Any, own_state: _OwnState, notes: list[str]) -> None:
    args, state, items, pairs, setter = own_state
    if args is not None:
        _FIELDS["args"].__set__(made, args)
    if setter is not None:
        setter(made, state)
    elif state is not None:
        made.__setstate__(state)
    for item in items or ():
        made.append(item)
    for key, value in pairs or ():
        made[key] = value
    if notes and not hasattr(made, "__notes__"):
        made.__dict__["__notes__"] = notes


def _constant(module: str, name: str) -> Any:
    found: Any = __import__(module, fromlist=["*"])
    for part in name.split("."):
        found = getattr(found, part)
    return found
