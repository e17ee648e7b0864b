"""The cores a process may use: quotas of cgroups, affinity, and the user's options."""

from __future__ import annotations

import os
import sys

import pytest

from distio.runtime import cores
from distio.runtime.cores import cores_by_quota, share_of_cores, thread_limits, usable_cores

Files = dict[str, str]

V2 = {"/proc/self/cgroup": "0::/a/b\n"}
V1 = {"/proc/self/cgroup": "12:memory:/m\n4:cpu,cpuacct:/docker/x\n1:name=systemd:/\n"}


def v1(directory: str, quota: str, period: str = "100000\n") -> Files:
    root = f"/sys/fs/cgroup/cpu{directory}"
    return {f"{root}/cpu.cfs_quota_us": quota, f"{root}/cpu.cfs_period_us": period}


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, None),
        (V2, None),
        (V2 | {"/sys/fs/cgroup/a/b/cpu.max": "max 100000\n"}, None),
        (V2 | {"/sys/fs/cgroup/a/b/cpu.max": "200000 100000\n"}, 2),
        (V2 | {"/sys/fs/cgroup/a/b/cpu.max": "150000 100000\n"}, 2),
        (V2 | {"/sys/fs/cgroup/a/b/cpu.max": "1000 100000\n"}, 1),
        (V2 | {"/sys/fs/cgroup/a/b/cpu.max": "max 1\n", "/sys/fs/cgroup/a/cpu.max": "3 1\n"}, 3),
        (V2 | {"/sys/fs/cgroup/a/b/cpu.max": "5 1\n", "/sys/fs/cgroup/a/cpu.max": "3 1\n"}, 3),
        (V2 | {"/sys/fs/cgroup/cpu.max": "2 1\n"}, 2),
        ({"/sys/fs/cgroup/cpu.max": "2 1\n"}, 2),
        (V2 | {"/sys/fs/cgroup/a/b/cpu.max": ""}, None),
        (V2 | {"/sys/fs/cgroup/a/b/cpu.max": "much 100000\n"}, None),
        (V2 | {"/sys/fs/cgroup/a/b/cpu.max": "100000 0\n"}, None),
        (V1 | v1("", "-1\n"), None),
        (V1 | v1("", "250000\n"), 3),
        (V1 | v1("/docker/x", "100000\n"), 1),
        (V1 | v1("/docker", "400000\n") | v1("/docker/x", "-1\n"), 4),
        (V1 | v1("", "100000\n") | {"/sys/fs/cgroup/cpu.max": "9 1\n"}, 1),
    ],
)
def test_cores_by_quota_are_the_least_quota_of_the_group_and_its_parents(
    files: Files, expected: int | None
) -> None:
    assert cores_by_quota(files.get) == expected


def test_usable_cores_are_the_least_of_all_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(sys, "_xoptions", {})
    monkeypatch.delenv("PYTHON_CPU_COUNT", raising=False)
    files: Files = {}
    monkeypatch.setattr(cores, "read_text", files.get)
    assert usable_cores() == 8
    files["/sys/fs/cgroup/cpu.max"] = "600000 100000"
    assert usable_cores() == 6
    monkeypatch.setenv("PYTHON_CPU_COUNT", "5")
    assert usable_cores() == 5
    monkeypatch.setattr(sys, "_xoptions", {"cpu_count": "3"})
    assert usable_cores() == 3
    monkeypatch.setattr(sys, "_xoptions", {"cpu_count": "default"})
    assert usable_cores() == 6


@pytest.mark.parametrize("text", ["0", "-1", "many", ""])
def test_usable_cores_with_an_option_that_makes_no_sense_are_at_least_one(
    monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setenv("PYTHON_CPU_COUNT", text)
    assert usable_cores() >= 1


@pytest.mark.parametrize(("workers", "share"), [(1, 8), (2, 4), (3, 2), (8, 1), (9, 1)])
def test_share_of_cores_is_rounded_down(
    monkeypatch: pytest.MonkeyPatch, workers: int, share: int
) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: 8)
    assert share_of_cores(workers) == share


ALL = {
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMBA_NUM_THREADS",
}


def test_thread_limits_are_the_share_for_libraries_without_a_setting() -> None:
    assert thread_limits(None, 3, {}) == dict.fromkeys(ALL, "3")
    assert thread_limits(None, 3, {"OMP_NUM_THREADS": ""}) == dict.fromkeys(ALL, "3")


def test_thread_limits_leave_the_settings_of_the_user() -> None:
    limits = thread_limits(None, 3, {"MKL_NUM_THREADS": "1"})
    assert limits == dict.fromkeys(ALL - {"MKL_NUM_THREADS"}, "3")


def test_thread_limits_leave_libraries_that_fall_back_on_open_mp() -> None:
    limits = thread_limits(None, 3, {"OMP_NUM_THREADS": "1"})
    assert limits == {"VECLIB_MAXIMUM_THREADS": "3", "NUMBA_NUM_THREADS": "3"}


def test_thread_limits_that_are_asked_for_win() -> None:
    assert thread_limits(2, 9, {"OMP_NUM_THREADS": "1"}) == dict.fromkeys(ALL, "2")
