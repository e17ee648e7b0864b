"""Exceptions arrive whole, wherever they stand in what travels."""

from __future__ import annotations

import builtins
import copyreg
import enum
import json
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distio import Queue, io
from distio.core.fiber import Fiber
from distio.core.interpreter import step
from distio.core.snapshot import dump_fibers, dump_outcome, load_fibers, load_outcome
from distio.errors import ForeignException, NotPicklable, TracedException
from distio.result import Errors, Ok, Panic, Result
from distio.var import Var

Run = Callable[..., Result[Any, Any]]


def there_and_back(value: Any) -> Any:
    """What comes of a value that leaves its process."""
    arrived = load_outcome(dump_outcome(Ok(value))[0])
    assert isinstance(arrived, Ok), arrived
    return arrived.success


# -- classes like those of users ----------------------------------------------------------------


class Color(enum.Enum):
    RED = 1


class Refused(Exception):
    """Its constructor takes something else than `args`."""

    def __init__(self, seat: int, *, why: str) -> None:
        super().__init__(f"seat {seat}: {why}")
        self.seat = seat
        self.why = why


class Silent(Exception):
    """Its constructor leaves `args` to `__new__`."""

    def __init__(self, code: int) -> None:
        self.code = code


class Slotted(ValueError):
    __slots__ = ("__private", "axis")

    def __init__(self, axis: int, private: str) -> None:
        self.axis = axis
        self.__private = private

    @property
    def private(self) -> str:
        return self.__private


class SlottedMore(Slotted):
    __slots__ = ("never_set", "size")


@dataclass
class Data(Exception):
    code: int
    tags: list[str]


@dataclass(frozen=True)
class Frozen(Exception):
    code: int
    color: Color


@dataclass(frozen=True, slots=True)
class FrozenSlots(Exception):
    code: int


@dataclass(kw_only=True)
class KeywordsOnly(Exception):
    code: int


class Generated(Exception):
    """As libraries write it that generate classes: slots, frozen, pickled by its own fields."""

    __slots__ = ("code", "color")

    def __init__(self, *, code: int, color: Color) -> None:
        BaseException.__init__(self, code, color)
        object.__setattr__(self, "code", code)
        object.__setattr__(self, "color", color)

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(f"{name} can't be set")

    def __getstate__(self) -> Any:
        return {name: getattr(self, name) for name in ("code", "color")}

    def __setstate__(self, state: Any) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)


class Strict(Exception):
    """Its `__new__` takes something of its own, too."""

    def __new__(cls, *, key: str) -> Strict:
        return super().__new__(cls, key)

    def __init__(self, *, key: str) -> None:
        self.key = key


class NotFound(OSError):
    def __init__(self, path: str) -> None:
        super().__init__(2, "not found", path)
        self.path = path


class Response:
    def __init__(self, status: int) -> None:
        self.status = status


class HTTPError(OSError):
    """As libraries for the web have it."""

    def __init__(self, *args: Any, response: Response) -> None:
        self.response = response
        super().__init__(*args)


class Mute(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Several(ExceptionGroup[Exception]):
    def __new__(cls, excs: list[Exception], host: str) -> Several:
        made = super().__new__(cls, f"several on {host}", excs)
        made.host = host
        return made

    host: str

    def derive(self, excs: Any) -> Any:
        return Several(excs, self.host)


EXCEPTIONS: list[BaseException] = [
    Refused(1, why="taken"),
    Silent(3),
    Slotted(1, "secret"),
    SlottedMore(2, "secret"),
    Data(1, ["a"]),
    Frozen(1, Color.RED),
    FrozenSlots(1),
    KeywordsOnly(code=1),
    Generated(code=1, color=Color.RED),
    Strict(key="k"),
    NotFound("/tmp/x"),
    HTTPError("no", response=Response(404)),
    Several([ValueError(1), Refused(1, why="taken")], "alpha"),
    json.JSONDecodeError("bad", "{", 1),
    subprocess.CalledProcessError(1, ["ls"], b"out", b"err"),
    OSError(2, "no such file", "a", None, "b"),
    BlockingIOError(11, "try again", 5),
    ImportError("no", name="n", path="p"),
    AttributeError("no", name="n", obj=threading.Lock()),
    NameError("no", name="n"),
    SyntaxError("bad", ("file.py", 1, 2, "text", 1, 3)),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"),
    UnicodeEncodeError("ascii", "ü", 0, 1, "bad"),
    UnicodeTranslateError("ü", 0, 1, "bad"),
    StopIteration(7),
    StopAsyncIteration(7),
    SystemExit(3),
    KeyError("k"),
    KeyError(ValueError("inner")),
    KeyboardInterrupt(),
    GeneratorExit(),
    BaseExceptionGroup("g", [KeyboardInterrupt(), ExceptionGroup("h", [ValueError(1)])]),
]

FIELDS = """
    errno strerror filename filename2 characters_written name path msg lineno offset text
    end_lineno end_offset encoding object start end reason value code message axis private size
    seat why tags color key host doc pos returncode cmd output stderr
"""


def described(exception: BaseException) -> dict[str, Any]:
    """All that somebody who handles it may look at, in words that can be compared."""
    found = {
        name: repr(getattr(exception, name)) for name in FIELDS.split() if hasattr(exception, name)
    }
    if isinstance(exception, BaseExceptionGroup):
        found["exceptions"] = repr([described(part) for part in exception.exceptions])
    return {
        **found,
        "class": type(exception),
        "args": repr(exception.args),
        "repr": repr(exception),
        "attributes": sorted(vars(exception)),
    }


@pytest.mark.parametrize("exception", EXCEPTIONS, ids=lambda each: type(each).__name__)
def test_exception_in_any_kind_of_result_arrives_whole(exception: BaseException) -> None:
    expected = described(exception)
    results: list[Result[Any, Any]] = [
        Ok(exception),
        Ok([{"k": (exception,)}]),
        Errors([exception]),
        Panic([TracedException(exception, "trace")], []),
        Panic([], [exception]),
    ]
    for result in results:
        arrived = load_outcome(dump_outcome(result)[0])
        assert type(arrived) is type(result)
        assert described(_only_exception(arrived)) == expected


def _only_exception(value: Any) -> BaseException:
    match value:
        case Ok(inner) | [inner] | {"k": inner} | Panic([TracedException(inner)], []):
            return inner if isinstance(inner, BaseException) else _only_exception(inner)
        case Errors([error]) | Panic([], [error]):
            assert isinstance(error, BaseException)
            return error
    raise AssertionError(f"no exception in {value!r}")


_SPECIAL = {
    UnicodeDecodeError: ("utf-8", b"\xff", 0, 1, "bad"),
    UnicodeEncodeError: ("ascii", "ü", 0, 1, "bad"),
    UnicodeTranslateError: ("ü", 0, 1, "bad"),
    ExceptionGroup: ("g", [ValueError(1)]),
    BaseExceptionGroup: ("g", [SystemExit(1)]),
}
BUILT_IN = sorted(
    {
        each
        for each in vars(builtins).values()
        if isinstance(each, type) and issubclass(each, BaseException)
    },
    key=lambda each: each.__name__,
)


def arguments_of(kind: type[BaseException]) -> tuple[Any, ...]:
    if issubclass(kind, SyntaxError):
        return "bad", ("file.py", 1, 2, "text", 1, 3)
    return _SPECIAL.get(kind, ("a", 2))


@pytest.mark.parametrize("kind", BUILT_IN)
def test_built_in_exception_arrives_whole(kind: type[BaseException]) -> None:
    exception = kind(*arguments_of(kind))
    exception.add_note("seen")
    sub: Any = type("Sub", (kind,), {"__init__": lambda self, **_: None, "__module__": __name__})
    mine = sub.__new__(sub, *arguments_of(kind))
    for each in (exception, mine):
        arrived = there_and_back(each)
        assert {**described(arrived), "class": ""} == {**described(each), "class": ""}
        assert str(arrived) == str(each)


@pytest.mark.parametrize("kind", [each for each in BUILT_IN if each not in _SPECIAL])
def test_built_in_exception_without_arguments_arrives_whole(kind: type[BaseException]) -> None:
    assert described(there_and_back(kind())) == described(kind())


def test_attribute_error_leaves_its_object_behind() -> None:
    arrived = there_and_back(AttributeError("no", name="n", obj=object()))
    assert (arrived.name, arrived.obj) == ("n", None)


# -- what classes say themselves ----------------------------------------------------------------


class Reduced(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")
        self.pair = a, b
        self.lock = threading.Lock()

    def __reduce__(self) -> tuple[Any, ...]:
        return Reduced, self.pair


class ReducedWithState(Exception):
    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (), {"extra": [self]}


class Dropping(Exception):
    """Leaves behind what can't travel."""

    def __init__(self, code: int) -> None:
        self.code = code
        self.lock: Any = threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"code": self.code}

    def __setstate__(self, state: Any) -> None:
        self.__dict__.update(state)
        self.lock = "a new one"


class NewArguments(Exception):
    made_with: ClassVar[list[Any]] = []

    def __new__(cls, *args: Any) -> NewArguments:
        cls.made_with.append(args)
        return super().__new__(cls, *args)

    def __getnewargs__(self) -> tuple[Any, ...]:
        return 1, 2, 3


class NewKeywords(Exception):
    made_with: ClassVar[list[str]] = []

    def __new__(cls, *, key: str) -> NewKeywords:
        cls.made_with.append(key)
        return super().__new__(cls, f"key {key}")

    def __init__(self, *, key: str) -> None:
        pass

    def __getnewargs_ex__(self) -> tuple[Any, ...]:
        return (), {"key": "k"}


class Registered(Exception):
    pass


def _registered(exception: Registered) -> tuple[Any, ...]:
    return Registered, ("by its registration",)


class Broken(Exception):
    """What it says itself can't be done."""

    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"{a} and {b}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), ("only one",)


class BrokenState(Exception):
    def __setstate__(self, state: Any) -> None:
        raise RuntimeError("not like this")


class Raising(Exception):
    def __reduce__(self) -> tuple[Any, ...]:
        raise RuntimeError("not at all")


class Imposter(Exception):
    def __reduce__(self) -> Any:
        return str, ("not an exception",)


CONSTANT = Imposter("the only one")


class Constant(Exception):
    def __reduce__(self) -> str:
        return "CONSTANT"


def test_exception_whose_class_says_how_is_pickled_so() -> None:
    reduced = there_and_back(Reduced(1, 2))
    assert (type(reduced), reduced.pair, str(reduced)) == (Reduced, (1, 2), "1 and 2")
    dropping = there_and_back(Dropping(3))
    assert (dropping.args, dropping.code, dropping.lock) == ((3,), 3, "a new one")
    assert str(there_and_back(NewArguments("a"))) == "a"
    assert NewArguments.made_with == [("a",), (1, 2, 3)]
    assert str(there_and_back(NewKeywords(key="j"))) == "key j"
    assert NewKeywords.made_with == ["j", "k"]
    stated = there_and_back(ReducedWithState())
    assert stated.extra == [stated]
    assert there_and_back(Constant()) is CONSTANT


def test_exception_with_a_registered_reducer_is_pickled_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(copyreg.dispatch_table, Registered, _registered)
    assert str(there_and_back(Registered("as it is"))) == "by its registration"


@pytest.mark.parametrize(
    "exception", [Broken(1, 2), BrokenState("a"), Raising("a"), Imposter("a")], ids=repr
)
def test_exception_whose_class_is_mistaken_is_made_without_it(exception: BaseException) -> None:
    exception.__cause__ = ValueError("why")
    arrived = there_and_back(exception)
    assert described(arrived) == described(exception)
    assert repr(arrived.__cause__) == "ValueError('why')"


# -- causes, notes, identity --------------------------------------------------------------------


def raised() -> Refused:
    """With a cause, a context, and notes."""
    try:
        try:
            raise KeyError("first")
        except KeyError as first:
            first.add_note("at first")
            raise ValueError("second") from first
    except ValueError:
        try:
            raise Refused(1, why="third")
        except Refused as third:
            third.add_note("in the end")
            return third


def test_causes_and_notes_arrive() -> None:
    arrived = there_and_back(raised())
    second = arrived.__context__
    assert (arrived.__cause__, arrived.__suppress_context__) == (None, False)
    assert arrived.__notes__ == ["in the end"]
    assert repr(second) == "ValueError('second')"
    assert second.__suppress_context__
    assert second.__cause__ is second.__context__
    assert second.__cause__.__notes__ == ["at first"]


def test_suppressed_context_stays_suppressed() -> None:
    try:
        try:
            raise KeyError("first")
        except KeyError:
            raise ValueError("second") from None
    except ValueError as second:
        arrived = there_and_back(second)
    assert (arrived.__suppress_context__, arrived.__cause__) == (True, None)


def test_exception_that_is_named_twice_stays_one() -> None:
    inner = Refused(1, why="taken")
    outer = KeyError("outer")
    outer.__context__ = inner
    outer.inner = inner  # type: ignore[attr-defined]  # an attribute of this one
    first, second, third = there_and_back([inner, outer, inner])
    assert first is third is second.__context__ is second.inner


def test_circle_of_exceptions_arrives_as_a_circle() -> None:
    first, second = Refused(1, why="a"), KeyError("b")
    first.__context__, second.__cause__ = second, first
    first.itself = [first]  # type: ignore[attr-defined]  # an attribute of this one
    second.args = (second,)
    arrived = there_and_back(first)
    assert arrived.__context__.__cause__ is arrived
    assert arrived.itself == [arrived]
    assert arrived.__context__.args == (arrived.__context__,)


def test_exception_that_is_made_of_itself_arrives() -> None:
    exception = ReducedPlain()
    exception.args = (exception,)
    arrived = there_and_back(exception)
    assert arrived.args == (arrived,)


def test_group_that_is_its_own_cause_arrives() -> None:
    part = ValueError(1)
    group = ExceptionGroup("g", [part])
    part.__context__ = group.__cause__ = group
    arrived = there_and_back(group)
    assert arrived.__cause__ is arrived is arrived.exceptions[0].__context__


@pytest.mark.parametrize("link", ["__cause__", "__context__", "args", "attribute", "group"])
def test_chain_of_a_thousand_exceptions_arrives(link: str) -> None:
    chained: Exception = ValueError("innermost")
    for _ in range(1_000):
        inner = chained
        if link == "group":
            chained = ExceptionGroup("g", [inner])
        elif link == "args":
            chained = KeyError(inner)
        else:
            chained = Refused(1, why="outer")
            setattr(chained, link, inner)
    arrived, depth = there_and_back(chained), 0
    step: Callable[[Any], Any] = {
        "group": lambda e: e.exceptions[0],
        "args": lambda e: e.args[0],
    }.get(link, lambda e: getattr(e, link))
    while not isinstance(arrived, ValueError):
        arrived, depth = step(arrived), depth + 1
    assert (arrived.args, depth) == (("innermost",), 1_000)


# the shape of some exceptions: for each, those that its links lead to
LINKS = st.lists(
    st.tuples(*[st.none() | st.integers(0, 7)] * 3, st.booleans(), st.integers(0, 3)),
    min_size=1,
    max_size=8,
)


@given(LINKS)
def test_web_of_exceptions_keeps_its_shape(links: list[tuple[Any, ...]]) -> None:
    makers: list[Callable[[int], Any]] = [
        ValueError,
        lambda n: Refused(n, why="w"),
        lambda n: Frozen(n, Color.RED),
        ReducedPlain,
    ]
    web = [makers[kind](n) for n, (*_, kind) in enumerate(links)]
    size, put = len(web), vars(BaseException)
    for each, (cause, context, other, suppress, _) in zip(web, links):
        # not setattr: one of them is frozen
        put["__cause__"].__set__(each, None if cause is None else web[cause % size])
        put["__context__"].__set__(each, None if context is None else web[context % size])
        put["__suppress_context__"].__set__(each, suppress)
        each.__dict__["other"] = None if other is None else [web[other % size]]
    assert shape(there_and_back(web)) == shape(web)


class ReducedPlain(Exception):
    def __reduce__(self) -> tuple[Any, ...]:
        return ReducedPlain, self.args, dict(self.__dict__)


def shape(web: list[BaseException]) -> list[object]:
    """Of each exception its class, and the places of those that it leads to."""
    place = {id(each): n for n, each in enumerate(web)}
    place[id(None)] = -1
    return [
        (
            type(each).__name__,
            repr(each.args),
            place[id(each.__cause__)],
            place[id(each.__context__)],
            each.__suppress_context__,
            [place[id(other)] for other in vars(each)["other"] or ()],
        )
        for each in web
    ]


# -- what doesn't survive -----------------------------------------------------------------------


@pytest.fixture
def with_socket() -> Iterator[Refused]:
    """An exception that can't be pickled."""
    refused = Refused(1, why="taken")
    with socket.socket() as refused.socket:  # type: ignore[attr-defined]  # an attribute of it
        refused.add_note("seen")
        yield refused


def test_exception_that_cannot_be_pickled_is_replaced_where_it_stands(with_socket: Refused) -> None:
    group = ExceptionGroup("g", [with_socket, ValueError(1)])
    outer = KeyError("outer")
    outer.__cause__ = with_socket
    with_socket.__context__ = ValueError("before")
    arrived = load_outcome(dump_outcome(Errors([with_socket, outer, group, 5]))[0])
    assert isinstance(arrived, Errors)
    first, second, third, fourth = arrived.errors
    assert isinstance(first, ForeignException)
    assert first.type_name == f"{__name__}.Refused"
    assert first.message == "seat 1: taken"
    assert getattr(first, "__notes__", ()) == ["seen"]
    assert repr(first.__context__) == "ValueError('before')"
    assert (type(second), second.__cause__) == (KeyError, first)
    assert (type(third), third.exceptions[0]) == (ExceptionGroup, first)
    assert fourth == 5


def test_exception_of_a_missing_module_is_replaced_where_it_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    module = types.ModuleType("only_here")
    module.__spec__ = ModuleSpec("only_here", None)  # it seems to be found by its name
    exec("class Odd(Exception): pass\nclass Value: pass", module.__dict__)
    monkeypatch.setitem(sys.modules, "only_here", module)
    holder = Refused(1, why="taken")
    holder.value = module.Value()  # type: ignore[attr-defined]  # an attribute of it
    whole = KeyError("whole")
    whole.__cause__, whole.__context__ = module.Odd("odd"), holder
    payload = dump_outcome(Errors([whole, module.Odd("odd"), holder]))
    monkeypatch.delitem(sys.modules, "only_here")
    arrived = load_outcome(payload.payload)
    assert isinstance(arrived, Errors)
    first, second, third = arrived.errors
    assert type(first) is KeyError
    assert first.__cause__ == ForeignException("only_here.Odd", "odd") == second
    assert first.__context__ is third
    assert third == ForeignException(f"{__name__}.Refused", "seat 1: taken")


def test_exception_without_text_arrives() -> None:
    assert type(there_and_back(Mute())) is Mute
    mute = Mute()
    mute.lock = threading.Lock()  # type: ignore[attr-defined]  # an attribute of it
    assert "RuntimeError" in there_and_back(mute).message


def test_other_errors_that_cannot_be_pickled_are_a_panic() -> None:
    arrived = load_outcome(dump_outcome(Errors([ValueError(1), threading.Lock()]))[0])
    assert isinstance(arrived, Panic)
    assert isinstance(arrived.exceptions[0].exception, NotPicklable)


def test_fiber_with_an_exception_that_cannot_be_pickled_stays(with_socket: Refused) -> None:
    fiber = Fiber(1, 1, io.pure(0).map(lambda _: str(with_socket)), None)
    with pytest.raises(NotPicklable, match="captured variable 'with_socket'"):
        dump_fibers([fiber])


def test_fiber_that_fails_with_an_exception_that_cannot_be_pickled_travels(
    with_socket: Refused,
) -> None:
    payload, _ = dump_fibers([Fiber(1, 1, io.panic(with_socket), None)])
    (arrived,) = load_fibers(1, [(1, 1)], payload)
    step(arrived)
    assert isinstance(arrived.failure, Panic)
    assert isinstance(arrived.failure.exceptions[0].exception, ForeignException)


def test_class_of_many_exceptions_is_packed_once() -> None:
    few, many = ([Refused(n, why="taken") for n in range(count)] for count in (10, 110))
    grown = len(dump_outcome(Errors(many))[0]) - len(dump_outcome(Errors(few))[0])
    assert grown < 100 * 120


# -- in every place -----------------------------------------------------------------------------


class Raiser:
    """Makes exceptions of a class that no module can be asked for, and of one of this module."""

    def __init__(self) -> None:
        class Local(Exception):
            def __init__(self, seat: int, *, why: str) -> None:
                super().__init__(f"seat {seat}: {why}")
                self.seat = seat

        self.classes: list[Any] = [Refused, Local]
        self.expected = [
            (kind, seat, f"seat {seat}: taken", "KeyError('before')", ["seen"])
            for seat, kind in enumerate(self.classes)
        ]

    def make(self, seat: int) -> Exception:
        exception: Exception = self.classes[seat](seat, why="taken")
        exception.__cause__ = KeyError("before")
        exception.add_note("seen")
        return exception

    def raises(self, seat: int) -> None:
        raise self.make(seat)

    def fails(self, seat: int) -> Any:
        return io.defer(self.make, seat).flat_map(io.error)


def seen(exceptions: Any) -> list[Any]:
    return [
        (type(each), each.seat, str(each), repr(each.__cause__), each.__notes__)
        for each in exceptions
    ]


def test_exception_arrives_in_every_place(run: Run) -> None:
    raiser = Raiser()
    both = [raiser.fails(0), raiser.fails(1)]
    errors = run(io.zip_par(both))
    assert isinstance(errors, Errors)
    assert seen(errors.errors) == raiser.expected

    handled = run(io.zip_par(both).catch(lambda errors: io.pure([e.seat for e in errors])))
    assert handled == Ok([0, 1])

    panic = run(io.zip_par([io.defer(raiser.raises, 0), io.defer(raiser.raises, 1)]))
    assert isinstance(panic, Panic)
    assert seen([traced.exception for traced in panic.exceptions]) == raiser.expected

    values = run(io.zip_par([io.defer(raiser.make, 0), io.defer(raiser.make, 1)]))
    assert isinstance(values, Ok)
    assert seen(values.success) == raiser.expected

    chunked = run(io.traverse_par([0, 1], raiser.fails))
    assert isinstance(chunked, Errors)
    assert seen(chunked.errors) == raiser.expected


def test_exception_as_an_item_of_a_queue_arrives(run: Run) -> None:
    raiser = Raiser()

    def talk(items: Any) -> Any:
        put = io.zip_par([io.defer(raiser.make, n).flat_map(items.put) for n in (0, 1)])
        return put.then(io.zip_par([items.take(), items.take()]))

    taken = run(Queue.create().flat_map(talk))
    assert isinstance(taken, Ok)
    assert seen(sorted(taken.success, key=lambda each: each.seat)) == raiser.expected


def test_exception_in_a_var_arrives(run: Run) -> None:
    raiser = Raiser()

    def fill(var: Any) -> Any:
        put = io.zip_par([io.defer(raiser.make, 1).flat_map(var.set)])
        return put.then(io.zip_par([var.get()]))

    kept = run(Var.create(None).flat_map(fill))
    assert isinstance(kept, Ok)
    assert seen(kept.success) == raiser.expected[1:]
