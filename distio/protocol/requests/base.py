"""The base of all requests: their traits."""

from __future__ import annotations

from typing import ClassVar, Final, Literal, final

__all__ = ["NOTHING", "Nothing", "Request"]


class Request:
    """Base of everything that `step` may return; a type says here what is to be known of it."""

    __slots__ = ()

    can_wait: ClassVar[bool] = False
    """Whether a fiber may be parked on it. A fiber that is cancelled fails instead of asking."""
    waits_for_fibers: bool = False
    """Whether only another fiber can end the wait: such waits can be a deadlock."""
    must_be_seen: ClassVar[bool] = False
    """Whether the fiber has to see the answer before it is cancelled, for it has got something."""
    is_visible: ClassVar[bool] = False
    """Whether other fibers see what it does: then it must not be done twice."""
    asks_host: ClassVar[bool] = False
    """Whether the process knows the answer, and no machine is asked."""
    gives_value: ClassVar[bool] = False
    """Whether a value of the user's goes with it: it is pickled first if it leaves the process."""
    gets: ClassVar[Literal["", "outcomes", "value"]] = ""
    """The part of the answer that may be bytes; it is unpickled when the fiber goes on."""
    state: ClassVar[str] = "runs"
    """The state of a fiber that is parked on the request, in words; see `describe`."""
    action: ClassVar[str] = ""
    """The action of a fiber that has the request, in words for histories."""

    def describe(self) -> str:
        """The state of a fiber that is parked on this request, in words."""
        return self.state

    def __repr__(self) -> str:
        return type(self).__name__


@final
class Nothing:
    """Stands where no value is."""

    __slots__ = ()

    def __reduce__(self) -> str:
        return "NOTHING"


NOTHING: Final = Nothing()
