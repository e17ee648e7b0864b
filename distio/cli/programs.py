"""From `FILE[:NAME]` and its arguments to the program that they name."""

from __future__ import annotations

import inspect
import os
import reprlib
import sys
import traceback
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import cloudpickle

from distio.core.ops.base import IO
from distio.errors import TracedException
from distio.runtime.interrupts import Terminated

__all__ = ["ProgramFailed", "UsageError", "load_program"]

_MOST_LISTED: Final = 10


class UsageError(Exception):
    """The command can't be done as it was given; the message is one line and says what to do."""


class ProgramFailed(Exception):
    """User code raised before there was a program to run; the message is its traceback."""


def load_program(target: str, args: Sequence[str]) -> IO[Any, Any, Any]:
    """Load a file as a script is loaded, and find its program.

    `sys.path` and `sys.argv` are as the script would find them, but its `__name__` isn't
    `"__main__"`. Functions and classes of the file can travel to workers that don't have the file.

    Args:
        target: `FILE`, or `FILE:NAME`; NAME is `main` unless given.
        args: for a function that returns the program.

    Raises:
        UsageError: there is no such program.
        ProgramFailed: the file, or the function, raised.
    """
    path, name = _split(target)
    return _program(_load(path, args), path.name, name, args)


def _split(target: str) -> tuple[Path, str]:
    file, colon, name = target.rpartition(":")
    if not colon or os.path.exists(target):
        file, name = target, "main"
    path = Path(file)
    if not file:
        raise UsageError(f"{target!r} names no file; give FILE.py or FILE.py:NAME")
    if not os.path.exists(file):  # (Path.exists raises if it may not look)
        raise UsageError(f"there is no file {file!r}; check the path")
    if path.is_dir():
        raise UsageError(f"{file!r} is a directory; give one file of it, like {path / 'main.py'}")
    if path.suffix != ".py":
        raise UsageError(f"{file!r} is not a Python file; its name has to end in .py")
    if not name.isidentifier():
        raise UsageError(f"{name!r} is not a name; give FILE.py or FILE.py:NAME")
    return path, name


def _load(path: Path, args: Sequence[str]) -> types.ModuleType:
    try:
        source = path.read_bytes()
    except OSError as error:
        raise UsageError(f"can't read {str(path)!r}: {error.strerror}") from error
    file = os.path.abspath(path)
    # a name of its own: who imports the same file by its stem gets another module, as with scripts
    module = types.ModuleType(f"__distio_main_{path.stem}__")
    module.__file__ = file
    sys.modules[module.__name__] = module
    cloudpickle.register_pickle_by_value(module)
    sys.path.insert(0, str(path.resolve().parent))
    sys.argv[:] = [str(path), *args]
    _call_user(lambda: exec(compile(source, file, "exec", dont_inherit=True), vars(module)))
    return module


def _program(
    module: types.ModuleType, file: str, name: str, args: Sequence[str]
) -> IO[Any, Any, Any]:
    if not hasattr(module, name):
        raise UsageError(f"{file} has no {name!r}{_what_it_has(module, file)}")
    found = getattr(module, name)
    if isinstance(found, IO):
        if args:
            raise UsageError(
                f"{name!r} of {file} is an IO and takes no arguments; make it a function of them "
                f"that returns an IO, or leave out {' '.join(args)!r}"
            )
        return found
    if isinstance(found, type) or not callable(found):
        raise UsageError(
            f"{name!r} of {file} is {_brief(found)}, but has to be an IO or a function that "
            f"returns one"
        )
    if inspect.iscoroutinefunction(found):
        raise UsageError(
            f"{name!r} of {file} is an async function, but has to be an IO or a function that "
            f"returns one"
        )
    _check_arguments(found, file, name, args)
    program = _call_user(lambda: found(*args))
    if not isinstance(program, IO):
        raise UsageError(f"{name!r} of {file} returned {_brief(program)}, but has to return an IO")
    return program


def _check_arguments(
    function: Callable[..., Any], file: str, name: str, args: Sequence[str]
) -> None:
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # it doesn't tell
    try:
        signature.bind(*args)
    except TypeError as error:
        usage = " ".join(_placeholder(parameter) for parameter in signature.parameters.values())
        raise UsageError(
            f"{name!r} of {file} can't be called with {_count(len(args), 'argument')} ({error}); "
            f"it takes: -- {usage}".rstrip()
        ) from error


def _placeholder(parameter: inspect.Parameter) -> str:
    name = parameter.name.upper()
    if parameter.kind is parameter.VAR_POSITIONAL:
        return f"[{name}...]"
    if parameter.kind in (parameter.KEYWORD_ONLY, parameter.VAR_KEYWORD):
        return f"({parameter}, which the command line can't give)"
    return name if parameter.default is parameter.empty else f"[{name}]"


def _what_it_has(module: types.ModuleType, file: str) -> str:
    programs, functions = [], []
    for name, value in vars(module).items():
        if name.startswith("_"):
            continue
        if isinstance(value, IO):
            programs.append(name)
        elif isinstance(value, types.FunctionType) and value.__module__ == module.__name__:
            functions.append(name)
    if not programs and not functions:
        return ", nor any other IO or function at module level; define main, an IO"
    has = [_listed("IO", programs), _listed("function", functions)]
    example = (programs or functions)[0]
    return f"; it has {' and '.join(filter(None, has))}; name one, like {file}:{example}"


def _listed(noun: str, names: list[str]) -> str:
    if not names:
        return ""
    more = ", …" if len(names) > _MOST_LISTED else ""
    return f"the {noun}{'' if len(names) == 1 else 's'} {', '.join(names[:_MOST_LISTED])}{more}"


def _brief(value: Any) -> str:
    return "a class" if isinstance(value, type) else reprlib.repr(value)


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _call_user(call: Callable[[], Any]) -> Any:
    """Call what leads to user code; what that raises is a ProgramFailed with its traceback."""
    try:
        return call()
    except (KeyboardInterrupt, Terminated):
        raise
    except BaseException as error:  # (a file that calls sys.exit ends here, too)
        if isinstance(error, SyntaxError) and _is_of_compile(error):
            text = "".join(traceback.format_exception_only(error))
        else:
            text = TracedException.in_except_clause(error).stack_trace
        raise ProgramFailed(text) from error


def _is_of_compile(error: SyntaxError) -> bool:
    """Whether the error was raised without a frame of user code: the file itself isn't Python."""
    frames = traceback.extract_tb(error.__traceback__)
    return all(frame.filename == __file__ for frame in frames)
