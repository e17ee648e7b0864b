"""How an IO becomes bytes: as a flat list of operations, so that depth costs no recursion."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import distio.core.ops as ops

if TYPE_CHECKING:
    from distio.core.ops.operation import Operation

__all__ = ["assemble", "flatten"]


def flatten(root: Operation) -> list[Any]:
    """List the operations below `root`, each after those it is made of, each once.

    An operation becomes `(class, the places of its parts in the list, its other fields)`. An object
    that stands where an IO should be becomes `(None, object, ())`, to fail when it is run.
    """
    places: dict[int, int] = {}
    program: list[Any] = []
    pending: list[Any] = [root]
    while pending:
        node = pending[-1]
        if id(node) in places:
            pending.pop()
            continue
        inner = node._inner() if isinstance(node, ops.IO) else ""
        fields = node._fields() if isinstance(node, ops.IO) else ()
        parts: tuple[Any, ...] = ()
        if inner:
            parts = (fields[0],) if inner == "io" else fields[0]
        missing = [part for part in parts if id(part) not in places]
        if missing:
            pending.extend(reversed(missing))
            continue
        pending.pop()
        places[id(node)] = len(program)
        if not isinstance(node, ops.IO):
            program.append((None, node, ()))
        elif inner == "io":
            program.append((type(node), places[id(parts[0])], fields[1:]))
        elif inner == "ios":
            program.append((type(node), tuple([places[id(part)] for part in parts]), fields[1:]))
        else:
            program.append((type(node), None, fields))
    return program


def assemble(program: list[Any]) -> Any:
    """Make the IO again from its flat list."""
    nodes: list[Any] = []
    for operation, parts, fields in program:
        if operation is None:
            nodes.append(parts)
        elif parts is None:
            nodes.append(operation(*fields))
        elif isinstance(parts, int):
            nodes.append(operation(nodes[parts], *fields))
        else:
            nodes.append(operation(tuple([nodes[part] for part in parts]), *fields))
    return nodes[-1]
