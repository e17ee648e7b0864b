"""The numbers of a coordinator over HTTP: `/metrics` as Prometheus reads them, and `/healthz`.

The server has threads of its own, which never look at the machine. A request wakes the loop of the
coordinator. The loop hands over plain numbers between two turns. So a request that is answered
shows that the loop goes on.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Empty, SimpleQueue
from typing import Any, Final, NamedTuple, final

from distio.coordination.membership.handshakes import Handshakes
from distio.coordination.overview.text import LATE
from distio.errors import ClusterError
from distio.runtime.threads import start_thread

__all__ = ["ANSWER_SECONDS", "Metrics", "Numbers", "address_of", "families", "numbers_of"]

ANSWER_SECONDS: Final = 5.0
"""A coordinator whose loop takes longer to answer isn't healthy."""
_LONGEST_REQUEST_SECONDS: Final = 10.0
_ADVICE: Final = "install it with: pip install 'distio[metrics]'"


class Numbers(NamedTuple):
    """The numbers of one moment."""

    members: Mapping[str, int]
    """The number of members of each kind."""
    runs: int
    fibers: Mapping[str, int]
    """By state, in words."""
    backlog: int
    locks: int
    heard: int
    """How many messages of members were heard since the process began."""
    said: int
    late: int
    """How many messages meant nothing any more when they came."""
    lost: int
    restored: int
    fibers_lost: int
    refused: Mapping[str, int]
    """By what was refused, in words."""
    longest_turn: float
    """The longest turn of the loop since it was asked before, in seconds."""


def numbers_of(board: Handshakes, heard: int, longest_turn: float) -> Numbers:
    """The numbers of a coordinator; only for its loop, between two turns."""
    told = board.machine.features.overview.numbers()
    counts = told.counts
    return Numbers(
        members=Counter(str(each.hello.kind) for each in board.machine.members.values()),
        runs=told.runs,
        fibers=told.states,
        backlog=told.backlog,
        locks=told.locks,
        heard=heard,
        said=board.messages_said,
        late=counts[LATE],
        lost=counts.get("members lost", 0),
        restored=counts.get("fibers restored", 0),
        fibers_lost=counts.get("fibers lost", 0),
        refused={
            "message of a stranger": board.unknown.messages,
            "peer": counts.get("peers refused", 0),
            "member": counts.get("members expelled", 0),
        },
        longest_turn=longest_turn,
    )


def address_of(text: str) -> tuple[str, int]:
    """The address at which metrics are served.

    Raises:
        ClusterError: it is none of this machine alone.

    >>> address_of("127.0.0.1:9464"), address_of("[::1]:9464")
    (('127.0.0.1', 9464), ('::1', 9464))
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    try:
        is_loopback = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    if not (is_loopback and port.isdecimal() and int(port) < 2**16):
        raise ClusterError(
            f"metrics are served on an address of this machine alone, like 127.0.0.1:9464, but got "
            f"{text!r}: whoever reaches the port sees them; let a proxy of yours pass them on"
        )
    return host, int(port)


@final
class Metrics:
    """The server; its owner has the loop.

    Args:
        text: where it listens, HOST:PORT; port 0 lets the system choose one.
        wake: has the loop call `answer`; may be called by any thread.

    Raises:
        ClusterError: it can't listen there, or the package for it isn't there.
    """

    def __init__(self, text: str, wake: Callable[[], None]) -> None:
        address = address_of(text)
        try:
            from prometheus_client import CollectorRegistry, ProcessCollector
        except ImportError as error:
            raise ClusterError(
                f"--metrics needs the package prometheus-client; {_ADVICE}"
            ) from error
        self._wake = wake
        self._waiting: deque[SimpleQueue[Numbers]] = deque()
        registry: Any = CollectorRegistry()
        registry.register(_Collector(self))
        ProcessCollector(registry=registry)
        handler = type("Handler", (_Handler,), {"metrics": self, "registry": registry})
        try:
            self._server = ThreadingHTTPServer(address, handler)
        except OSError as error:
            reason = error.strerror or error
            raise ClusterError(f"can't serve metrics on {text}: {reason}") from error
        self._server.daemon_threads = True
        self.url = f"http://{text.rpartition(':')[0]}:{self._server.server_port}"
        self._is_closed = False
        start_thread("distio-metrics", self._serve)

    # -- the loop -------------------------------------------------------------------------

    def see_to(self, board: Handshakes, heard: int, longest_turn: float) -> bool:
        """Answer the requests that wait, if some do; return whether some did.

        Args:
            board: the handshakes of the coordinator.
            heard: how many messages have come.
            longest_turn: in seconds, since they were answered before.
        """
        if not self._waiting:
            return False
        self.answer(numbers_of(board, heard, longest_turn))
        return True

    def answer(self, numbers: Numbers) -> None:
        """Hand the numbers of this moment to all requests that wait for them."""
        while self._waiting:
            self._waiting.popleft().put(numbers)

    def close(self) -> None:
        """Serve no longer."""
        self._is_closed = True
        self._server.socket.shutdown(socket.SHUT_RDWR)  # which wakes the thread

    # -- the threads of the server --------------------------------------------------------

    def _serve(self) -> None:
        with self._server:
            while not self._is_closed:
                self._server.handle_request()

    def ask(self) -> tuple[Numbers, float] | None:
        """The numbers, and how many seconds the loop took to answer; None: it took too long."""
        answer: SimpleQueue[Numbers] = SimpleQueue()
        began = time.monotonic()
        self._waiting.append(answer)
        self._wake()
        try:
            return answer.get(timeout=ANSWER_SECONDS), time.monotonic() - began
        except Empty:
            return None


class _Collector:
    """Makes Prometheus' families of the numbers."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def describe(self) -> list[Any]:
        """None are known before they are asked for."""
        return []

    def collect(self) -> Iterator[Any]:
        """Ask the loop."""
        found = self._metrics.ask()
        if found is None:
            raise TimeoutError("the loop of the coordinator doesn't answer")
        yield from families(*found)


def families(numbers: Numbers, seconds: float) -> Iterator[Any]:
    """The families of these numbers, which the loop took so long to give."""
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    labelled: list[tuple[Any, str, str, str, Mapping[str, int]]] = [
        (GaugeMetricFamily, "distio_members", "Members of the cluster", "kind", numbers.members),
        (GaugeMetricFamily, "distio_fibers", "Fibers that are alive", "state", numbers.fibers),
        (
            *(CounterMetricFamily, "distio_refused", "What members or peers said in vain"),
            *("what", numbers.refused),
        ),
    ]
    for kind, name, text, label, values in labelled:
        family = kind(name, text, labels=[label])
        for each, value in values.items():
            family.add_metric([each], value)
        yield family
    for name, text, number in (
        ("distio_runs", "Runs that go on", numbers.runs),
        ("distio_backlog", "Chunks of fibers that wait for a place", numbers.backlog),
        ("distio_locks", "Locks and semaphores in use", numbers.locks),
        ("distio_loop_longest_seconds", "Longest turn since the last scrape", numbers.longest_turn),
        ("distio_loop_lag_seconds", "How long the loop took to answer this scrape", seconds),
    ):
        yield GaugeMetricFamily(name, text, value=number)
    for name, text, number in (
        ("distio_messages_heard", "Messages of members", numbers.heard),
        ("distio_messages_said", "Messages to members", numbers.said),
        ("distio_messages_late", "Messages that meant nothing any more", numbers.late),
        ("distio_members_lost", "Members that were lost", numbers.lost),
        ("distio_fibers_restored", "Fibers that went on after a loss", numbers.restored),
        ("distio_fibers_lost", "Fibers that were lost for good", numbers.fibers_lost),
    ):
        yield CounterMetricFamily(name, text, value=number)


class _Handler(BaseHTTPRequestHandler):
    """Answers one request."""

    metrics: Metrics
    registry: Any
    timeout = _LONGEST_REQUEST_SECONDS

    def do_GET(self) -> None:
        """Serve one of the two pages."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

        if self.path == "/healthz":
            is_well = self.metrics.ask() is not None
            self._send(200 if is_well else 503, b"ok\n" if is_well else b"no answer\n")
        elif self.path == "/metrics":
            try:
                page = generate_latest(self.registry)
            except TimeoutError as error:
                self._send(503, f"{error}\n".encode())
            else:
                self._send(200, page, CONTENT_TYPE_LATEST)
        else:
            self._send(404, b"there are /metrics and /healthz\n")

    def _send(self, code: int, page: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: a scrape is no news."""
