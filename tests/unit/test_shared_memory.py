"""Memory that the processes of a host share: see `runtime.shared_memory` and `member_memory`."""

from __future__ import annotations

import errno
import os
import stat
import sys
from collections.abc import Iterator, Sized
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from distio.coordination.journal.blobs import Blobs
from distio.errors import ClusterClosed
from distio.protocol.codec import MalformedFrame, from_coordinator, from_member
from distio.protocol.messages import Outcomes, OutcomesReady
from distio.protocol.pieces import Pieces, SharedPart
from distio.runtime import member_memory, shared_memory
from distio.runtime.member_memory import MemberMemory
from distio.runtime.shared_memory import CoordinatorMemory, SharedDirectory

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="needs files without a name")

LABEL = b"00" * 16
DATA = bytes(range(256)) * (member_memory.LEAST_BYTES // 256) + b"the end"


class Cluster(NamedTuple):
    root: Path
    coordinator: CoordinatorMemory
    first: MemberMemory
    second: MemberMemory

    def names(self) -> list[str]:
        """The parts that have names."""
        files = [path for path in self.root.rglob("*") if path.is_file()]
        return sorted(str(path.relative_to(self.root)) for path in files if path.name != "lock")


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    directory = SharedDirectory()
    members = [MemberMemory(directory.path, incarnation) for incarnation in (1, 2)]
    yield Cluster(directory.path, CoordinatorMemory(directory), *members)
    directory.remove()


def put(memory: MemberMemory, data: bytes = DATA) -> SharedPart:
    stored = memory.put(memoryview(data))
    assert stored is not None
    return stored[1]


def given(part: SharedPart, cluster: Cluster) -> SharedPart:
    """The part that the second member gets for one of the first, by way of the coordinator."""
    told = cluster.first.share(part)
    assert told is not None
    kept = cluster.coordinator.take(1, told)
    assert not isinstance(kept, bytes | memoryview)
    assert len(kept) == len(part)
    told = cluster.coordinator.share(2, kept, is_here=False)
    assert told is not None
    taken = cluster.second.take(told)
    assert not isinstance(taken, bytes | memoryview)
    return taken


def test_directory_is_for_this_user_alone_and_goes_with_its_cluster() -> None:
    directory = SharedDirectory()
    assert stat.S_IMODE(directory.path.stat().st_mode) == 0o700
    directory.remove()

    assert not directory.path.exists()


def test_directory_whose_processes_were_killed_is_removed_by_the_next_cluster() -> None:
    left_over, used = SharedDirectory(), SharedDirectory()
    os.close(left_over._lock)  # as the system does when a process ends
    (left_over.path / "1").mkdir()
    (left_over.path / "1" / "m1").write_bytes(DATA)
    other = SharedDirectory(used.path)  # a second process of the cluster
    os.close(used._lock)
    SharedDirectory().remove()

    assert not left_over.path.exists()
    assert used.path.exists()
    other.remove()


def test_directory_without_a_lock_is_removed_by_the_next_cluster() -> None:
    left_over = SharedDirectory()
    os.close(left_over._lock)
    (left_over.path / "lock").unlink()  # its process was killed before it made that
    SharedDirectory().remove()

    assert not left_over.path.exists()


def test_directory_that_was_removed_before_it_was_locked_is_made_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lock_of = shared_memory._lock_of
    removed: list[Path] = []

    def removing(directory: Path) -> int:
        lock = lock_of(directory)
        if not removed:  # as another cluster does that begins now
            removed.append(directory)
            shared_memory._remove(directory)
        return lock

    monkeypatch.setattr(shared_memory, "_remove_left_over", lambda _: None)
    monkeypatch.setattr(shared_memory, "_lock_of", removing)
    directory = SharedDirectory()
    assert directory.path.exists()
    assert directory.path not in removed
    directory.remove()


def test_directory_into_which_a_name_is_put_meanwhile_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory, remove = tmp_path / "1", os.rmdir
    directory.mkdir()

    def putting(path: Path, **options: int) -> None:
        monkeypatch.undo()
        (directory / "m1").touch()
        remove(path, **options)

    monkeypatch.setattr(os, "rmdir", putting)
    shared_memory._remove(directory)

    assert not directory.exists()


def test_part_goes_from_member_to_member_and_leaves_no_name(cluster: Cluster) -> None:
    part = put(cluster.first)
    assert cluster.names() == []
    taken = given(part, cluster)

    assert taken.read() == taken.view() == taken.private() == part.read() == DATA
    assert len(cluster.names()) == 2
    del part, taken
    assert cluster.names() == []


def test_part_is_given_again_though_others_have_dropped_it(cluster: Cluster) -> None:
    part = put(cluster.first)
    for _ in range(2):
        assert given(part, cluster).read() == DATA
    taken = given(part, cluster)
    del part

    told = cluster.second.share(taken)
    assert told is not None
    again = cluster.coordinator.take(2, told)
    assert isinstance(again, Sized)
    assert len(again) == len(DATA)


def test_part_is_there_for_the_last_who_has_it(cluster: Cluster) -> None:
    taken = given(put(cluster.first), cluster)
    cluster.first.close()
    cluster.coordinator.close(is_last=True)

    assert taken.read() == DATA


def test_part_is_one_memory_for_all(cluster: Cluster) -> None:
    part = put(cluster.first)
    taken = given(part, cluster)
    files = {os.fstat(each.file.number).st_ino for each in (part, taken)}  # type: ignore[attr-defined]

    assert len(files) == 1


def test_change_of_a_private_view_is_seen_by_nobody_else(cluster: Cluster) -> None:
    part = put(cluster.first)
    taken = given(part, cluster)
    mine, yours = taken.private(), taken.private()
    mine[0] = 255

    assert (mine[0], yours[0], taken.view()[0], part.view()[0]) == (255, 0, 0, 0)


def test_view_that_is_not_private_cannot_be_changed(cluster: Cluster) -> None:
    assert given(put(cluster.first), cluster).view().readonly


def test_same_bytes_are_put_once_as_long_as_they_are_there(cluster: Cluster) -> None:
    part = put(cluster.first)
    assert put(cluster.first, bytes(bytearray(DATA))) is part
    assert put(cluster.first, DATA[:-1] + b"!") is not part
    assert put(cluster.first, b"!" + DATA[1:]) is not part
    label = part.label
    del part

    assert put(cluster.first).label != label


def test_bytes_that_came_are_known_again(cluster: Cluster) -> None:
    part = put(cluster.first)
    taken = given(part, cluster)

    assert given(part, cluster) is taken
    assert put(cluster.second) is taken
    assert taken.read() is taken.read()


@pytest.mark.parametrize("use", ["view", "private"])
def test_bytes_are_known_again_as_long_as_somebody_has_them_mapped(
    cluster: Cluster, use: str
) -> None:
    taken = given(put(cluster.first), cluster)
    label, mapped = taken.label, getattr(taken, use)()
    del taken
    assert put(cluster.second).label == label
    del mapped

    assert put(cluster.second).label != label


def test_bytes_that_the_coordinator_keeps_for_others_are_known_again(cluster: Cluster) -> None:
    part = put(cluster.first)
    label, told = part.label, cluster.first.share(part)
    assert told is not None
    kept = cluster.coordinator.take(1, told)
    del part
    again = put(cluster.first)
    assert put(cluster.first, DATA[:-1] + b"!").label != label
    assert again.label == label
    del kept, again

    assert cluster.names() == []
    assert put(cluster.first).label != label


def test_part_that_is_given_twice_has_one_name_at_the_coordinator(cluster: Cluster) -> None:
    part = put(cluster.first)
    told = [cluster.first.share(part), cluster.first.share(part)]
    first, second = (cluster.coordinator.take(1, each) for each in told if each is not None)
    assert first is second
    del part

    assert [name.split("/")[0] for name in cluster.names()] == ["coordinator"]


def test_other_bytes_under_a_label_that_is_known_are_refused(cluster: Cluster) -> None:
    told = cluster.first.share(put(cluster.first))
    assert told is not None
    kept = cluster.coordinator.take(1, told)
    assert isinstance(kept, Sized)
    (cluster.root / "1" / "m9").write_bytes(DATA + DATA)
    with pytest.raises(MalformedFrame):
        cluster.coordinator.take(1, b"m9 " + told.partition(b" ")[2])


def test_bytes_that_two_threads_put_at_once_are_one_part(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory, made, others = cluster.first, cluster.first._made, []

    def made_twice(data: memoryview) -> object:
        monkeypatch.undo()
        others.append(put(memory))  # as another thread does meanwhile
        return made(data)

    monkeypatch.setattr(memory, "_made", made_twice)
    assert [put(memory)] == others


def test_part_that_nobody_has_is_found_by_nobody_while_its_file_is_closed(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = put(cluster.first)
    label = part.label
    found = []
    close = os.close

    def closing(number: int) -> None:
        found.append(cluster.first._by_label.get(label))  # as another thread may
        close(number)

    monkeypatch.setattr(os, "close", closing)
    del part

    assert found == [None]


def test_worker_that_still_joins_is_given_parts(cluster: Cluster) -> None:
    told = cluster.first.share(put(cluster.first))
    assert told is not None
    kept = cluster.coordinator.take(1, told)
    assert not isinstance(kept, bytes | memoryview)
    assert cluster.coordinator.share(3, kept, is_here=False) is None
    told = cluster.coordinator.share(3, kept, is_here=True)
    assert told is not None
    taken = MemberMemory(cluster.root, 3).take(told)

    assert taken == DATA if isinstance(taken, bytes | memoryview) else taken.view() == DATA


def test_small_value_is_not_shared(cluster: Cluster) -> None:
    assert cluster.first.put(memoryview(DATA)[: member_memory.LEAST_BYTES - 1]) is None


def test_value_for_which_the_system_has_no_memory_is_not_shared(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    before = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(os, "posix_fallocate", full)

    assert cluster.first.put(memoryview(DATA)) is None
    assert len(os.listdir("/proc/self/fd")) == before


def test_value_that_would_leave_too_little_for_others_is_not_shared(cluster: Cluster) -> None:
    cluster.first._usable = 2 * len(DATA) - 1
    assert cluster.first.put(memoryview(DATA)) is None


def test_process_with_many_parts_shares_no_more_and_copies_what_comes(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = put(cluster.first)
    told = cluster.first.share(part)
    assert told is not None
    kept = cluster.coordinator.take(1, told)
    assert not isinstance(kept, bytes | memoryview)
    named = cluster.coordinator.share(2, kept, is_here=False)
    assert named is not None
    monkeypatch.setattr(member_memory._files, "_most", 0)

    assert cluster.first.put(memoryview(DATA[1:])) is None
    assert cluster.second.take(named) == DATA
    assert part.private().obj.__class__ is bytearray


def test_files_are_counted_until_they_are_closed(cluster: Cluster) -> None:
    before = len(member_memory._files._open)
    part = put(cluster.first)
    views = [part.view(), part.private(), part.private()]
    assert len(member_memory._files._open) == before + 4
    del part, views

    assert len(member_memory._files._open) == before


def test_what_was_on_its_way_to_or_from_a_lost_member_is_removed(cluster: Cluster) -> None:
    part = put(cluster.first)
    told = cluster.first.share(part)
    assert told is not None
    kept = cluster.coordinator.take(1, told)
    assert not isinstance(kept, bytes | memoryview)
    cluster.coordinator.share(2, kept, is_here=False)
    cluster.first.share(part)
    assert len(cluster.names()) == 4
    cluster.coordinator.keep_only([])
    assert [name.split("/")[0] for name in cluster.names()] == ["coordinator"]
    del kept

    assert cluster.names() == []


def test_part_of_which_a_lost_member_has_not_told_goes_with_it(cluster: Cluster) -> None:
    third = MemberMemory(cluster.root, 3)
    cluster.coordinator.joined(3)
    third.share(put(third))
    assert cluster.names() != []
    cluster.coordinator.keep_only([1, 2])

    assert cluster.names() == []
    third.close()


def test_what_a_member_has_not_heard_is_given_again_when_it_is_back(cluster: Cluster) -> None:
    part = put(cluster.first)
    told = cluster.first.share(part)
    assert told is not None
    kept = cluster.coordinator.take(1, told)
    assert not isinstance(kept, bytes | memoryview)
    heard = cluster.coordinator.share(2, kept, is_here=False)
    assert heard is not None
    taken = cluster.second.take(heard)
    cluster.coordinator.share(2, kept, is_here=False)
    cluster.first.share(part)
    cluster.first.forget_given()
    cluster.coordinator.forget_given(2)
    left = [name for name in cluster.names() if "coordinator" not in name]

    assert len(left) == 2
    assert all("/k" in name for name in left)
    assert isinstance(taken, Sized)


def test_part_that_only_the_journal_has_is_shared_once_again(cluster: Cluster) -> None:
    label = bytes(16)
    blobs = Blobs(lambda number: DATA)
    part = blobs.part_at(label, 1, len(DATA))
    told = [cluster.coordinator.share(n, part, is_here=False) for n in (1, 2)]
    first, second = (
        memory.take(each)
        for memory, each in zip((cluster.first, cluster.second), told)
        if each is not None
    )

    assert not isinstance(first, bytes | memoryview)
    assert not isinstance(second, bytes | memoryview)
    assert first.view() == second.view() == DATA
    files = {os.fstat(each.file.number).st_ino for each in (first, second)}  # type: ignore[attr-defined]
    assert len(files) == 1
    assert first.label == label
    assert part.view() == DATA


def test_part_of_the_journal_for_which_there_is_no_memory_is_sent(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Blobs(lambda number: DATA).part_at(bytes(16), 1, len(DATA))
    monkeypatch.setattr(shared_memory, "has_room", lambda *_: False)

    assert cluster.coordinator.share(1, part, is_here=False) is None
    assert cluster.names() == []


def test_process_that_goes_on_keeps_what_its_journal_has_and_knows_who_had_some(
    cluster: Cluster,
) -> None:
    cluster.first.share(put(cluster.first))
    kept, other, short = (bytes([n]) * 16 for n in range(3))
    for label in (kept, other, short):
        (cluster.root / "coordinator" / label.hex()).write_bytes(DATA)
    coordinator = CoordinatorMemory(SharedDirectory(cluster.root))
    blobs = Blobs(lambda number: b"from the journal")
    parts = [blobs.part_at(kept, 1, len(DATA)), blobs.part_at(short, 2, len(DATA) - 1)]
    coordinator.adopt(blobs.parts)
    assert [part.read() for part in parts] == [DATA, b"from the journal"]
    assert [name for name in cluster.names() if name[0] == "c"] == [f"coordinator/{kept.hex()}"]
    del parts
    blobs.commit()
    assert {name[0] for name in cluster.names()} == {"1"}
    coordinator.keep_only([2])
    assert cluster.names() == []
    coordinator.close(is_last=False)

    assert cluster.root.exists()


def test_member_that_shares_nothing_is_sent_the_bytes(cluster: Cluster) -> None:
    told = cluster.first.share(put(cluster.first))
    assert told is not None
    kept = cluster.coordinator.take(1, told)
    assert not isinstance(kept, bytes | memoryview)

    assert cluster.coordinator.share(7, kept, is_here=False) is None
    assert kept.view() == kept.read() == DATA


@pytest.mark.parametrize(
    "told", [b"", b"m1", b"../1/m1 " + LABEL, b"m1/ " + LABEL, b"m1 xyz", b"\xff"]
)
def test_name_that_is_none_is_refused(cluster: Cluster, told: bytes) -> None:
    with pytest.raises(MalformedFrame):
        cluster.coordinator.take(1, told)
    with pytest.raises(MalformedFrame):
        cluster.second.take(told)


def test_name_of_a_part_that_is_not_there_is_refused_by_the_coordinator(cluster: Cluster) -> None:
    with pytest.raises(MalformedFrame):
        cluster.coordinator.take(1, b"m1 " + LABEL)


def test_link_in_place_of_a_part_is_not_followed(cluster: Cluster, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(DATA)
    (cluster.root / "1" / "m1").symlink_to(secret)
    with pytest.raises(MalformedFrame):
        cluster.coordinator.take(1, b"m1 " + LABEL)


def test_part_that_is_gone_says_so_when_it_is_opened(cluster: Cluster) -> None:
    gone = cluster.second.take(b"c1 " + LABEL)
    assert not isinstance(gone, bytes | memoryview)
    with pytest.raises(ClusterClosed):
        gone.private()


def test_directory_that_others_may_look_into_is_not_used(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    with pytest.raises(PermissionError):
        MemberMemory(tmp_path, 1)


def test_message_with_a_part_in_shared_memory_has_its_name(cluster: Cluster) -> None:
    ready = OutcomesReady([7], [Pieces([b"head", put(cluster.first)])])
    frames = from_member.encode([ready], share=cluster.first.share)
    assert sum(map(len, frames)) < 1000
    (heard,) = from_member.read(frames, partial(cluster.coordinator.take, 1)).messages
    assert isinstance(heard, OutcomesReady)
    told = Outcomes(heard.fibers, heard.payloads)
    share = partial(cluster.coordinator.share, 2, is_here=False)
    frames = from_coordinator.encode([told], share=share)
    (outcomes,) = from_coordinator.read(frames, cluster.second.take).messages
    assert isinstance(outcomes, Outcomes)

    assert outcomes.payloads == [b"head" + DATA]


def test_message_for_a_peer_that_shares_nothing_has_the_bytes(cluster: Cluster) -> None:
    ready = OutcomesReady([7], [Pieces([b"head", put(cluster.first)])])
    (heard,) = from_member.decode(from_member.encode([ready]))
    assert heard == ready


def test_name_in_a_message_of_a_peer_that_shares_nothing_is_refused(cluster: Cluster) -> None:
    ready = OutcomesReady([7], [Pieces([put(cluster.first)])])
    frames = from_member.encode([ready], share=cluster.first.share)
    with pytest.raises(MalformedFrame):
        from_member.read(frames)
