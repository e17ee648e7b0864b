"""Everything that distio raises, or puts into a panic.

::

    BaseException
    ├── Cancelled               a fiber was cancelled
    └── BasePanicGroup          a BaseExceptionGroup: the same as PanicGroup, with Cancelled in it

    Exception
    ├── MatchError              a TypeError: a value is of another kind than expected
    ├── MultipleExceptions      raised for a Panic: all its exceptions and errors
    ├── DomainErrors            raised for Errors: expected failures that nobody handled
    ├── WrongOutcome            an AttributeError: this kind of Result has no such field
    ├── PanicGroup              an ExceptionGroup: raised for several failures at once
    └── DistioError
        ├── Deadlock            nothing can ever wake a run again
        ├── TimedOut            the time limit of a program is over
        ├── Closed              a queue, a topic or a subscription was closed
        ├── WorkerLost          a fiber ended with the process that hosted it, not to go on
        ├── InDoubt             nobody knows whether a call of io.once was made
        ├── TooManyRestarts     a supervisor gives up: a child ended again and again
        ├── FiberUnreachable    a handle was waited for whose run is over
        ├── MainThreadAway      the main thread makes no calls, for it does something else
        ├── NotPicklable        something that has to travel can't be pickled
        ├── NotImportable       a name in a pickle is nowhere to be found in this process
        ├── NotDeterministic    a function of io.do did something else when it was repeated
        ├── ForeignException    stands for an exception that didn't survive its journey
        ├── ClusterError        a cluster can't be started, reached or used
        │   ├── JournalError        the journal of a coordinator can't be used, or is damaged
        │   ├── HandshakeRefused    the coordinator doesn't accept this process
        │   ├── KeyRefused          the coordinator doesn't accept its key, or asks for none
        │   ├── RunUnknown          no run has this name
        │   ├── RunRefused          the name of a run is taken, or the run goes on
        │   └── ClusterClosed       the cluster ended while it was in use
        ├── SimulationLimit     a simulated run took more steps, or time, than it may
        └── DistioBug           a mistake in distio itself
            └── InvariantBroken     a rule that always must hold doesn't, and the story of it

All of them can be pickled: `args` is always what their class has to be called with. Those that
carry data are equal if they are of one class and carry the same.
"""

from distio._public import publish
from distio._traces import Where
from distio.errors._base import DistioError, MatchError
from distio.errors._bugs import DistioBug, InvariantBroken, SimulationLimit
from distio.errors._clusters import (
    ClusterClosed,
    ClusterError,
    HandshakeRefused,
    JournalError,
    KeyRefused,
    RunRefused,
    RunUnknown,
)
from distio.errors._fibers import (
    Cancelled,
    Closed,
    Deadlock,
    FiberUnreachable,
    MainThreadAway,
    TimedOut,
    TooManyRestarts,
)
from distio.errors._losses import InDoubt, ProcessExit, WorkerLost
from distio.errors._results import (
    BasePanicGroup,
    DomainErrors,
    MultipleExceptions,
    PanicGroup,
    WrongOutcome,
)
from distio.errors._traced import TracedException
from distio.errors._travelling import (
    ForeignException,
    NotDeterministic,
    NotImportable,
    NotPicklable,
)

__all__ = [
    "BasePanicGroup",
    "Cancelled",
    "Closed",
    "ClusterClosed",
    "ClusterError",
    "Deadlock",
    "DistioBug",
    "DistioError",
    "DomainErrors",
    "FiberUnreachable",
    "ForeignException",
    "HandshakeRefused",
    "InDoubt",
    "InvariantBroken",
    "JournalError",
    "KeyRefused",
    "MainThreadAway",
    "MatchError",
    "MultipleExceptions",
    "NotDeterministic",
    "NotImportable",
    "NotPicklable",
    "PanicGroup",
    "ProcessExit",
    "RunRefused",
    "RunUnknown",
    "SimulationLimit",
    "TimedOut",
    "TooManyRestarts",
    "TracedException",
    "Where",
    "WorkerLost",
    "WrongOutcome",
]

publish(__name__, globals())
