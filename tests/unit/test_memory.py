"""How much memory a worker may have."""

from __future__ import annotations

import pytest

from distio.errors import MatchError
from distio.runtime.memory import bytes_of, require_limit, usable_memory
from distio.runtime.trimming import Streak

MACHINE = {"/proc/meminfo": "MemTotal:        1000 kB\nMemFree: 10 kB\n"}
V2 = {"/proc/self/cgroup": "0::/slice/app\n", "/sys/fs/cgroup/slice/memory.max": "512000\n"}
V1 = {
    "/proc/self/cgroup": "4:memory:/docker\n",
    "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes": "256000\n",
    "/sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
}


@pytest.mark.parametrize(
    ("files", "total"), [({}, 1_024_000), (V2, 512_000), (V1, 256_000)], ids=["machine", "2", "1"]
)
def test_usable_memory_is_the_least_of_the_limits_and_of_what_the_machine_has(
    files: dict[str, str], total: int
) -> None:
    assert usable_memory({**MACHINE, **files}.get) == total


@pytest.mark.parametrize(
    ("limit", "count"),
    [("1000", 1000), ("1 KB", 1024), ("2g", 2 << 30), ("0.5MiB", 1 << 19), ("12.5%", 100)],
)
def test_limit_of_memory_is_read(limit: str, count: int) -> None:
    assert bytes_of(require_limit(limit, "here"), 800) == count


@pytest.mark.parametrize("limit", ["", "much", "-1", "0", "101%", "2 apples", 5])
def test_limit_that_is_none_is_refused_and_an_example_given(limit: object) -> None:
    with pytest.raises(MatchError, match=r"^here: expected a limit of memory, like 2GiB, 500M or"):
        require_limit(limit, "here")


def test_memory_of_a_long_streak_is_given_back_when_it_has_ended() -> None:
    given: list[None] = []
    streak = Streak(lambda: given.append(None))
    for _ in range(3):  # pauses in between: none of these is long
        streak.took(30_000)
        streak.ended()
    assert not given
    streak.took(30_000)
    streak.took(30_000)
    assert not given
    streak.ended()
    streak.ended()
    assert len(given) == 1
