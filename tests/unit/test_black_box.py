"""The black box of a process: what was noted in it is there when the process is no more."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from distio import io
from distio.coordination.state.tree import Tree
from distio.core.fiber import Fiber
from distio.errors import ProcessExit
from distio.protocol.ids import fiber_id
from distio.protocol.messages import InHand
from distio.runtime import black_box, post_mortem
from distio.runtime.black_box import BlackBox, make_black_box
from distio.runtime.post_mortem import MemoryWatch, examine

RUN = fiber_id(1, 0)


@pytest.fixture
def box() -> Iterator[BlackBox]:
    box = BlackBox(make_black_box())
    yield box
    box.close()


def fiber(number: int, name: str | None = None) -> Fiber:
    made = Fiber(fiber_id(1, number), RUN, io.pure(1), None)
    made.name = name
    return made


class Opening:
    """A task with several fibers."""

    def fiber_ids(self) -> list[int]:
        return [fiber_id(1, 8), fiber_id(1, 9)]


def in_child(act: Callable[[], Any]) -> int:
    """Do this in another process, which is then killed; return the code of its end."""
    if (process := os.fork()) == 0:
        try:
            act()
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def test_fiber_in_hand_is_known_when_its_process_was_killed(box: BlackBox) -> None:
    assert in_child(lambda: box.hand().take(fiber(7, "fetch"))) == -signal.SIGKILL
    noted = box.read()
    assert noted.in_hand == [InHand(fiber_id(1, 7), fiber_id(1, 7))]
    assert noted.running == ("1.7 (fetch)",)


def test_slot_holds_the_last_work_and_nothing_when_it_was_put_down(box: BlackBox) -> None:
    hand = box.hand()
    seen = []
    for work in (fiber(1), fiber(2, "a name"), fiber(3), Opening(), fiber(4)):
        hand.take(work)
        seen += [(box.read().in_hand, box.read().running)]
    assert seen == [
        ([InHand(fiber_id(1, 1), fiber_id(1, 1))], ("1.1",)),
        ([InHand(fiber_id(1, 2), fiber_id(1, 2))], ("1.2 (a name)",)),
        ([InHand(fiber_id(1, 3), fiber_id(1, 3))], ("1.3",)),
        ([InHand(fiber_id(1, 8), fiber_id(1, 8), has_others=True)], ("1.8",)),
        ([InHand(fiber_id(1, 4), fiber_id(1, 4))], ("1.4",)),
    ]
    hand.put_down()
    assert box.read().in_hand == []


def test_fiber_is_noted_with_the_head_of_its_tree(box: BlackBox) -> None:
    child = fiber(5)
    child.tree = Tree(fiber(1), frozenset())
    box.hand().take(child)
    assert box.read().in_hand == [InHand(fiber_id(1, 5), fiber_id(1, 1))]


def test_name_of_any_length_and_alphabet_is_cut_where_there_is_no_room(box: BlackBox) -> None:
    box.hand().take(fiber(1, "ü" * 1_000))
    assert box.read().running == (f"1.1 ({'ü' * 48})",)


def test_name_that_a_fiber_gets_in_hand_is_noted(
    box: BlackBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fiber, "on_rename", None)
    box.hold()
    work = fiber(1)
    box.hand_of_thread().take(work)
    work.rename("late")
    assert box.read().running == ("1.1 (late)",)


def test_box_without_a_free_slot_says_that_it_does_not_know(box: BlackBox) -> None:
    hands = [box.hand() for _ in range(black_box._SLOTS + 2)]
    hands[0].take(fiber(1))
    assert box.read().in_hand is None
    for hand in hands[-2:]:
        hand.leave()
    assert box.read().in_hand == [InHand(fiber_id(1, 1), fiber_id(1, 1))]


def test_slot_that_is_left_serves_the_next(box: BlackBox) -> None:
    for number in range(3 * black_box._SLOTS):
        hand = box.hand()
        hand.take(fiber(number))
        hand.leave()
    assert box.read().in_hand == []


def test_last_twenty_lines_are_kept_of_any_output(box: BlackBox) -> None:
    for number in range(10_000):
        box.note_output(b"line %d\n" % number)
    assert box.read().output == tuple(f"line {number}" for number in range(9_980, 10_000))
    box.note_output(b"x" * 100_000 + b"\nthe end")
    assert box.read().output == ("the end",)


def test_output_that_is_short_is_kept_whole(box: BlackBox) -> None:
    assert box.read().output == ()
    box.note_output(b"one\ntwo\n")
    box.note_output("thr\u00e9e".encode())
    assert box.read().output == ("one", "two", "thr\u00e9e")


def test_forked_child_notes_nothing_in_the_box_of_its_parent(
    box: BlackBox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Fiber, "on_rename", None)
    box.hold()
    hand = box.hand()
    hand.take(fiber(1))

    def act() -> None:
        hand.take(fiber(2))
        box.note_output(b"of the child\n")
        box.hand().take(fiber(3))

    in_child(act)
    noted = box.read()
    assert (noted.running, noted.output) == (("1.1",), ())


def test_memory_that_is_noted_is_that_of_the_process(box: BlackBox) -> None:
    assert box.read().memory is None
    box.note_memory()
    memory = box.read().memory
    assert memory is not None
    assert 5 * 2**20 < memory < 5 * 2**30


# -- what is told of an end -------------------------------------------------------------------


class Count:
    """The kills that the system has counted in a control group."""

    def __init__(self, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self._path = tmp_path / "memory.events"
        self.set(3)
        monkeypatch.setattr(post_mortem, "_counter_of_own_group", lambda: str(self._path))

    def set(self, number: int) -> None:
        self._path.write_text(f"low 0\nhigh 0\nmax 9\noom 9\noom_kill {number}\noom_group_kill 0\n")


def test_killed_process_was_out_of_memory_if_the_system_has_counted_one_more(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    count = Count(tmp_path, monkeypatch)
    memory = MemoryWatch()
    assert examine(-signal.SIGKILL, None, memory)[0].out_of_memory is False
    count.set(5)
    assert examine(-signal.SIGSEGV, None, memory)[0].out_of_memory is False
    seen = [examine(-signal.SIGKILL, None, memory)[0].out_of_memory for _ in range(3)]
    assert seen == [True, True, False]


def test_out_of_memory_is_not_told_where_the_system_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(post_mortem, "_counter_of_own_group", lambda: "")
    assert examine(-signal.SIGKILL, None, MemoryWatch())[0].out_of_memory is None


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (0, ProcessExit(exit_code=0, out_of_memory=False)),
        (3, ProcessExit(exit_code=3, out_of_memory=False)),
        (-signal.SIGSEGV, ProcessExit(signal="SIGSEGV", out_of_memory=False)),
        (-60, ProcessExit(signal="signal 60", out_of_memory=False)),
    ],
)
def test_exit_code_or_signal_is_told(code: int, told: ProcessExit) -> None:
    assert examine(code, None, MemoryWatch()) == (told, None)


def test_contents_of_the_box_are_told(box: BlackBox) -> None:
    box.hand().take(fiber(1, "fetch"))
    box.note_output(b"bye\n")
    exit, in_hand = examine(1, box, MemoryWatch())
    assert exit == ProcessExit(1, None, False, None, ("1.1 (fetch)",), "", ("bye",))
    assert in_hand == [InHand(fiber_id(1, 1), fiber_id(1, 1))]
