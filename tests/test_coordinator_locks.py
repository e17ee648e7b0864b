"""The coordinator's machine and locks: who is granted what, when."""

from __future__ import annotations

import itertools

from distio.protocol import messages as m
from distio.protocol.ids import fiber_id
from tests.test_coordinator import Scene, finished, placed

Commands = list[tuple[int, m.CoordinatorMessage]]


def asks(
    scene: Scene, member: int, run: int, fiber: int, *, epoch: int = 0, lock: int | str = 7,
    tokens: int = 0, per_seconds: float = 0.0,
) -> Commands:  # fmt: skip
    return scene.says(member, m.AcquireLock(run, fiber, epoch, lock, tokens, per_seconds))


def gives_back(
    scene: Scene, member: int, run: int, fiber: int, *, epoch: int = 0, lock: int | str = 7,
    value: bytes | None = None,
) -> Commands:  # fmt: skip
    return scene.says(member, m.ReleaseLock(run, fiber, epoch, lock, value))


def granted(
    member: int, fiber: int, *, epoch: int = 0, lock: int | str = 7, value: bytes = b""
) -> Commands:
    return [(member, m.LockGranted(fiber, epoch, lock, value))]


def test_a_lock_goes_to_those_who_wait_in_order() -> None:
    scene = Scene()
    run = scene.starts(fibers=1_000)
    fibers = [fiber_id(1, n) for n in range(1_000)]
    assert asks(scene, 1, run, fibers[0]) == granted(1, fibers[0])
    for fiber in fibers[1:]:
        assert asks(scene, 1, run, fiber) == []
    for fiber, following in itertools.pairwise(fibers):
        assert gives_back(scene, 1, run, fiber) == granted(1, following)


def test_a_semaphore_is_granted_while_there_are_tokens() -> None:
    scene = Scene()
    run = scene.starts(fibers=3)
    one, two, three = [fiber_id(1, n) for n in range(3)]
    assert asks(scene, 1, run, one, tokens=2) == granted(1, one)
    assert asks(scene, 1, run, two, tokens=2) == granted(1, two)
    assert asks(scene, 1, run, three, tokens=2) == []
    assert gives_back(scene, 1, run, two) == granted(1, three)


def test_a_limit_grants_when_its_window_is_over_and_not_before() -> None:
    scene = Scene()
    run = scene.starts(fibers=3)
    fibers = [fiber_id(1, n) for n in range(3)]
    grants = [asks(scene, 1, run, fiber, tokens=2, per_seconds=10.0) for fiber in fibers]
    assert grants == [granted(1, fibers[0]), granted(1, fibers[1]), []]
    assert scene.machine.next_deadline() == 10.0
    assert scene.tick(9.9) == []
    assert scene.tick(10.0) == granted(1, fibers[2])


def test_the_lock_of_a_lost_member_goes_to_the_next() -> None:
    scene = Scene(workers=2)
    run = scene.starts(fibers=3)
    one, two = fiber_id(1, 1), fiber_id(1, 2)
    assert (2, placed(run, one)) in scene.offers(1, run, one)
    scene.tells(2, ready=9)
    assert (3, placed(run, two)) in scene.offers(1, run, two)
    assert asks(scene, 2, run, one, epoch=1) == granted(2, one, epoch=1)
    assert asks(scene, 3, run, two, epoch=1) == []
    assert asks(scene, 1, run, run) == []
    assert granted(3, two, epoch=1)[0] in scene.breaks(2)
    assert granted(1, run)[0] in scene.breaks(3)


def test_whoever_is_lost_in_the_queue_is_passed_over() -> None:
    scene = Scene(workers=1)
    run = scene.starts(fibers=3)
    child, last = fiber_id(1, 1), fiber_id(1, 2)
    scene.offers(1, run, child)
    assert asks(scene, 1, run, run) == granted(1, run)
    assert asks(scene, 2, run, child, epoch=1) == []
    assert asks(scene, 1, run, last) == []
    scene.breaks(2)
    assert gives_back(scene, 1, run, run) == granted(1, last)


def test_a_word_of_an_old_epoch_frees_nothing() -> None:
    scene = Scene(workers=2)
    run = scene.starts(fibers=2)
    child = fiber_id(1, 1)
    scene.offers(1, run, child)
    asks(scene, 2, run, child, epoch=1)
    scene.tells(2, ready=9)
    assert (3, placed(run, child, epoch=2)) in scene.offers(2, run, child, epoch=1)
    assert asks(scene, 1, run, run) == []
    stale = scene.machine.stale
    assert gives_back(scene, 2, run, child, epoch=1) == []
    assert gives_back(scene, 3, run, child, epoch=1) == []
    assert scene.machine.stale == stale + 2
    assert gives_back(scene, 3, run, child, epoch=2) == granted(1, run)


def test_nobody_else_can_give_a_lock_back() -> None:
    scene = Scene()
    run = scene.starts(fibers=2)
    other = fiber_id(1, 1)
    asks(scene, 1, run, run)
    assert gives_back(scene, 1, run, other) == []
    assert scene.machine.stale == 1
    assert asks(scene, 1, run, other) == []


def test_the_end_of_a_run_frees_its_named_locks_for_others() -> None:
    scene = Scene()
    one = scene.starts()
    two = scene.starts(scene.join("client"))
    assert asks(scene, 1, one, one, lock="door") == granted(1, one, lock="door")
    assert asks(scene, 2, two, two, lock="door") == []
    assert granted(2, two, lock="door")[0] in scene.tells(1, finished(one, 1))


def test_a_value_comes_with_the_grant_and_lives_as_long_as_its_run() -> None:
    scene = Scene()
    run = scene.starts(fibers=2)
    other = fiber_id(1, 1)
    assert scene.says(1, m.StoreValue(run, 9, b"first")) == []
    assert asks(scene, 1, run, run, lock=9) == granted(1, run, lock=9, value=b"first")
    assert asks(scene, 1, run, other, lock=9) == []
    following = granted(1, other, lock=9, value=b"second")
    assert gives_back(scene, 1, run, run, lock=9, value=b"second") == following
    assert gives_back(scene, 1, run, other, lock=9) == []
    assert asks(scene, 1, run, run, lock=9) == granted(1, run, lock=9, value=b"second")
    scene.tells(1, finished(run, 2))
    scene.machine.validate_rest()


def test_a_name_that_is_in_use_as_something_else_is_refused() -> None:
    scene = Scene()
    run = scene.starts(fibers=2)
    asks(scene, 1, run, run, lock="api", tokens=3)
    ((member, refused),) = asks(scene, 1, run, fiber_id(1, 1), lock="api", tokens=5)
    assert member == 1
    assert isinstance(refused, m.LockRefused)
    assert "in use as a semaphore of 3 tokens" in refused.reason
