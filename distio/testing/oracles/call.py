"""A call of a primitive or a lock: who made it, when, and what was answered."""

from __future__ import annotations

from typing import Final, NamedTuple, final

from distio.protocol.ids import name_of

__all__ = [
    "CLOSED",
    "NEVER",
    "NOTHING_THERE",
    "PUTS",
    "TAKES",
    "Answer",
    "Call",
    "Key",
    "is_item",
    "is_plain",
]

Key = int | str

PUTS: Final = ("put", "offer")
TAKES: Final = ("take", "poll")

NEVER: Final = 1 << 62
"""The event at which nothing is answered that has not been."""


class Answer(NamedTuple):
    """The answer that a fiber gets."""

    kind: str
    """"item" for what another fiber has given, "plain" for what the primitive knows itself."""
    value: object = None

    def __str__(self) -> str:
        return self.kind if self.value is None else f"{self.kind} {_short(self.value)}"


CLOSED: Final = Answer("closed")
NOTHING_THERE: Final = Answer("nothing")
"""The answer to a poll of an empty queue."""


def is_item(item: object) -> Answer:
    """The answer that gives this item."""
    return Answer("item", item)


def is_plain(value: object) -> Answer:
    """The answer that is this value of the primitive itself."""
    return Answer("plain", value)


@final
class Call:
    """One call. Its events are numbers that grow with time."""

    __slots__ = (
        "answer",
        "fiber",
        "heard",
        "invoked",
        "is_confirmed",
        "is_local",
        "is_sure",
        "is_void",
        "item",
        "key",
        "method",
        "number",
        "parameter",
        "process",
        "replied",
        "settled",
    )

    def __init__(self, fiber: int, number: int, key: Key, method: str, invoked: int) -> None:
        self.fiber = fiber
        self.number = number
        """The number of the call among those of its fiber."""
        self.key = key
        self.method = method
        self.parameter = 0
        """The parameter of the method."""
        self.item: object = None
        """The item that is given to others: its bytes, which nobody changes on the way."""
        self.invoked = invoked
        self.heard = invoked
        """When the coordinator heard of it, as far as that was seen: a guess of when it counted."""
        self.replied = NEVER
        """When its fiber went on with the answer: what this process calls then comes after it."""
        self.settled = NEVER
        """When it was certain to count: what any process calls then comes after it. A process that
        may put into a queue without asking, or was given items ahead, goes on before the
        coordinator knows."""
        self.answer: Answer | None = None
        """The answer; None: it is not known, or doesn't matter."""
        self.process: object = None
        """The process in which its fiber was."""
        self.is_local = False
        """Whether the fiber's process has answered the call without asking the coordinator."""
        self.is_confirmed = False
        """Whether the fiber has moved since, and the coordinator knows what it has done."""
        self.is_sure = True
        """Whether the call has happened; else it may have, for its process was lost."""
        self.is_void = False
        """Whether the call has never been: its fiber was cancelled, or went back to before it."""

    def ask_again(self) -> None:
        """Let the fiber wait for the answer once more: whatever it was told has never been."""
        self.answer, self.replied, self.settled = None, NEVER, NEVER
        self.is_sure, self.is_confirmed = True, False

    def __str__(self) -> str:
        given = "" if self.item is None else f" {_short(self.item)}"
        number = f" {self.parameter}" if self.parameter else ""
        until = "" if self.replied == NEVER else str(self.replied)
        told = "" if self.answer is None else f" -> {self.answer}"
        unsure = "" if self.is_sure else " (may have happened)"
        return (
            f"[{self.invoked}..{until}] fiber {name_of(self.fiber)} call {self.number}: "
            f"{self.method}{number}{given}{told}{unsure}"
        )

    def __repr__(self) -> str:
        return f"<{self}>"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:18]}...{text[-18:]}"
