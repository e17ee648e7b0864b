"""Clusters with keys: who gets in, what a refused process is told, and what a revocation does."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import zmq

from distio import Cluster, Ok, io
from distio.cli import keys as cli
from distio.errors import ClusterError, HandshakeRefused, KeyRefused
from distio.protocol.codec import from_member
from distio.protocol.messages import Listen
from distio.result import Panic
from distio.runtime.coordinator_options import CoordinatorOptions
from distio.runtime.coordinator_process import CoordinatorProcess
from distio.runtime.handshake import connect
from distio.runtime.keys import KEYS_VARIABLE, MemberKeys
from distio.runtime.sockets import dealer, next_event, send
from tests.conftest import PATIENCE
from tests.harness.daemons import hear_joinings, worker_at
from tests.harness.keyed import keyed_coordinator, keys_in
from tests.harness.mounts import Mount

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keys_in(tmp_path_factory.mktemp("cluster") / "keys")


@pytest.fixture(scope="module")
def url(keys: Path) -> Iterator[str]:
    with keyed_coordinator(keys) as url:
        yield url


def quickly(url: str, keys: Path | None, error: type[ClusterError]) -> str:
    """The reason that a refused client is told, long before it would give up waiting."""
    begun = time.monotonic()
    with pytest.raises(error) as told:
        Cluster.connect(url, keys=keys, timeout=PATIENCE)
    assert time.monotonic() - begun < PATIENCE / 2
    assert "\n" not in str(told.value)
    return str(told.value)


def test_client_with_a_key_that_is_not_on_the_list_is_told_so(
    url: str, keys: Path, tmp_path: Path
) -> None:
    other = keys_in(tmp_path / "other")
    public = (other / "client" / "public.key").read_text().strip()
    known = (keys / "client" / "coordinator.key").read_text()
    (other / "client" / "coordinator.key").write_text(known)
    told = quickly(url, other, KeyRefused)
    assert told.startswith(f"the coordinator at {url} doesn't accept the key in {other / 'client'}")
    assert f"--public-key {public}" in told


def test_client_with_the_keys_of_another_cluster_is_told_so(url: str, tmp_path: Path) -> None:
    other = keys_in(tmp_path / "other")
    path = other / "client" / "coordinator.key"
    assert f"the coordinator at {url} doesn't have the key in {path}" in quickly(
        url, other, KeyRefused
    )


def test_client_without_a_key_is_told_that_it_needs_one(url: str) -> None:
    told = quickly(url, None, KeyRefused)
    assert told.startswith(f"the coordinator at {url} takes nobody without a key, and this process")


def test_client_with_a_key_is_told_that_the_coordinator_has_none(keys: Path) -> None:
    with keyed_coordinator(None) as insecure:
        told = quickly(insecure, keys, KeyRefused)
    assert told.startswith(f"the coordinator at {insecure} has no keys, but this process has those")


def test_worker_with_the_key_of_a_client_is_told_which_key_it_needs(url: str, keys: Path) -> None:
    said = "the key 'client' has the role client.*; give it a key with the role worker"
    with pytest.raises(HandshakeRefused, match=said):
        connect(url, "worker", 1, keys=keys / "client")


def test_worker_daemon_that_is_refused_exits_with_64_and_one_line(url: str, keys: Path) -> None:
    with worker_at(url, f"--keys={keys / 'client'}", stderr=-1) as worker:
        _, said = worker.communicate(timeout=PATIENCE)
    assert worker.returncode == 64
    assert re.fullmatch(r"distio-worker: .* refused this process: the key 'client' .*\n", said)


def test_observer_may_look_and_neither_run_nor_drain(
    url: str, keys: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(KEYS_VARIABLE, str(keys / "observer"))
    role = "the key 'observer' has the role observer, which looks and changes nothing"
    with Cluster.connect(url) as cluster:
        result = cluster.run(io.pure(1), None)
        assert isinstance(result, Panic)
        assert isinstance(result.exceptions[0].exception, KeyRefused)
        for attempt in (
            lambda: cluster.submit(io.pure(1), None),
            lambda: cluster.submit(io.pure(1), None, name="mine"),
            lambda: cluster.attach("mine"),
            lambda: cluster.cancel("mine"),
            lambda: cluster._host.inquiries.drain("1", 0.0),
        ):
            with pytest.raises(KeyRefused, match=role):
                attempt()
        assert cluster.runs() == []


def test_coordinator_logs_refusals_of_one_kind_once_a_second(
    url: str, keys: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = keys_in(tmp_path / "other")
    caplog.set_level(logging.WARNING, "distio.coordinator")
    begun = time.monotonic()
    for _ in range(5):
        quickly(url, other, KeyRefused)
    seconds = time.monotonic() - begun
    refusals = [each for each in caplog.messages if each.startswith("refused")]
    assert len(refusals) <= 1 + seconds


def test_coordinator_without_its_keys_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=f"can't read the keys in {tmp_path}"):
        CoordinatorProcess("tcp://127.0.0.1:0", CoordinatorOptions(keys=tmp_path))


def test_worker_that_tries_again_joins_when_its_key_is_added(keys: Path, tmp_path: Path) -> None:
    own = keys_in(tmp_path / "keys")
    with ExitStack() as stack:
        url = stack.enter_context(keyed_coordinator(own))
        joinings = stack.enter_context(hear_joinings())
        far = tmp_path / "far"
        coordinator = (own / "public.key").read_text().strip()
        assert cli.keygen(far, coordinator=coordinator) == 0
        options = [f"--keys={far}", f"--retry={PATIENCE:g}"]
        worker = stack.enter_context(worker_at(url, *options, stderr=-1))
        assert worker.stderr is not None
        while "doesn't accept the key" not in worker.stderr.readline():
            assert worker.poll() is None
        public = (far / "public.key").read_text().strip()
        assert cli.add("far", cli._Role.WORKER, public_key=public, keys=own) == 0
        joinings.wait_for("worker")
        worker.terminate()


def toil(directory: str, n: int, left: int = 20) -> Any:
    """Yield again and again, and note each time that it goes on."""
    if not left:
        return io.pure(n)
    note = io.defer(time.sleep, 0.01).then(io.defer(Path(directory, f"{n}").touch), io.yield_)
    return note.flat_map(lambda _: io.defer_io(toil, directory, n, left - 1))


def test_worker_whose_key_is_revoked_is_cut_at_once_and_its_fibers_go_on_elsewhere(
    tmp_path: Path,
) -> None:
    keys, notes = keys_in(tmp_path / "keys"), tmp_path / "notes"
    notes.mkdir()
    with ExitStack() as stack:
        url = stack.enter_context(keyed_coordinator(keys))
        joinings = stack.enter_context(hear_joinings())
        assert cli.add("rack-1", cli._Role.WORKER, keys=keys) == 0
        bad = stack.enter_context(worker_at(url, f"--keys={keys / 'rack-1'}", stderr=-1))
        joinings.wait_for("worker")
        cluster = stack.enter_context(Cluster.connect(url, keys=keys))
        many = cluster.submit(io.zip_par([toil(str(notes), n) for n in range(4)]), None)
        while len(list(notes.iterdir())) < 4:
            time.sleep(0.01)  # all of them have begun, at the only worker
        good = stack.enter_context(worker_at(url, f"--keys={keys}"))
        joinings.wait_for("worker", 2)
        other = stack.enter_context(Cluster.connect(url, keys=keys))
        with ThreadPoolExecutor(1) as pool:
            still = pool.submit(other.run, io.zip_par([io.sleep(0.5).then(io.pure(7))]), None)
            assert cli.revoke("rack-1", keys=keys) == 0
            _, said = bad.communicate(timeout=PATIENCE)
            assert bad.returncode == 75
            assert "was revoked" in said
            assert many.result(PATIENCE) == Ok([0, 1, 2, 3])
            assert still.result(PATIENCE) == Ok([7])
        with pytest.raises(KeyRefused, match="doesn't accept the key"):
            connect(url, "worker", 1, keys=keys / "rack-1")
        good.terminate()


@pytest.mark.parametrize("has_spoken", [True, False])
def test_connection_of_a_revoked_key_is_cut_whatever_its_peer_does(
    has_spoken: bool, tmp_path: Path
) -> None:
    keys = keys_in(tmp_path / "keys")
    context: zmq.Context[Any] = zmq.Context()
    with keyed_coordinator(keys) as url:
        peer = dealer(context, url, PATIENCE, MemberKeys.read(keys, "client"))
        monitor = peer.get_monitor_socket()
        listen = from_member.encode([Listen(b"token")])
        try:
            if has_spoken:
                send(peer, listen)
            with Cluster.connect(url, keys=keys):  # so what was sent before has come
                assert cli.revoke("client", keys=keys) == 0
            if not has_spoken:
                send(peer, listen)
            events: list[int] = [zmq.EVENT_CONNECTED]
            while events[-1] != zmq.EVENT_HANDSHAKE_FAILED_AUTH:
                assert monitor.poll(int(PATIENCE * 1000))
                events.append(next_event(monitor)[0])
            assert zmq.EVENT_DISCONNECTED in events
        finally:
            context.destroy(linger=0)


def test_client_whose_key_is_revoked_ends_its_runs_with_the_reason(tmp_path: Path) -> None:
    keys = keys_in(tmp_path / "keys")
    with keyed_coordinator(keys) as url, Cluster.connect(url, keys=keys) as cluster:
        pending = cluster.submit(io.sleep(PATIENCE), None)
        assert cli.revoke("client", keys=keys) == 0
        result = pending.result(PATIENCE)
        assert isinstance(result, Panic)
        assert "revoked" in str(result.exceptions[0].exception)


def test_key_is_revoked_when_the_mounted_secret_of_the_coordinator_is_replaced(
    tmp_path: Path,
) -> None:
    keys = keys_in(tmp_path / "keys")
    mount = Mount(tmp_path / "mount", keys)
    with keyed_coordinator(mount.folder) as url, Cluster.connect(url, keys=keys) as cluster:
        pending = cluster.submit(io.sleep(PATIENCE), None)
        assert cli.revoke("client", keys=keys) == 0
        mount.replace(keys)
        result = pending.result(PATIENCE)
        assert isinstance(result, Panic)
        assert "revoked" in str(result.exceptions[0].exception)
