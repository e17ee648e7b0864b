"""Seeds that have failed come first the next time, until they pass."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import pytest

from distio.testing.failed_seeds import FailedSeeds

pytest_plugins = ["pytester"]

TEST: Final = """
import pathlib
import pytest
from distio import io

@pytest.mark.seeds(3)
def test_seeds(cluster_simulation):
    bad = [int(each) for each in pathlib.Path("bad.txt").read_text().split()]
    tried = []

    def main():
        return io.random

    def check(simulation):
        seed = seeds[round(simulation.result.success, 12)]
        tried.append(seed)
        assert seed not in bad

    from distio.testing import simulate
    seeds = {round(simulate(io.random, seed=n).result.success, 12): n for n in range(50)}
    try:
        cluster_simulation(main, None, check, members=1, threads=1)
    finally:
        print("tried", *dict.fromkeys(tried))
"""


class Project:
    """A project with one test, some of whose seeds are bad."""

    def __init__(self, pytester: pytest.Pytester) -> None:
        self._pytester = pytester
        pytester.makepyfile(TEST)

    def run(self, bad: str, *options: str, fails: bool) -> list[int]:
        """Run the test while these seeds are bad; return those that it has tried first."""
        (self._pytester.path / "bad.txt").write_text(bad)
        run = self._pytester.runpytest_inprocess("-s", *options)
        run.assert_outcomes(failed=fails, passed=not fails)
        found = re.search(r"tried((?: \d+)+)$", run.stdout.str(), re.M)
        return [int(each) for each in found[1].split()] if found else []

    def kept(self) -> list[Path]:
        """The files in which seeds are kept."""
        return list(self._pytester.path.glob(".pytest_cache/d/distio-seeds/*.json"))


@pytest.fixture
def project(pytester: pytest.Pytester) -> Project:
    return Project(pytester)


@pytest.mark.slow
def test_seed_that_failed_is_tried_first_until_it_passes(project: Project) -> None:
    assert project.run("9", fails=False) == [0, 1, 2]
    assert project.kept() == []
    project.run("9", "--seeds", "20", fails=True)
    (file,) = project.kept()
    known = json.loads(file.read_text())
    assert (known["test"].split("::")[1], known["seeds"]) == ("test_seeds", [9])
    assert project.run("9", fails=True)[0] == 9
    assert project.run("", fails=False) == [9, 0, 1, 2]
    assert project.kept() == []
    assert project.run("9", fails=False) == [0, 1, 2]


@pytest.mark.slow
def test_seed_is_kept_when_its_test_never_came_to_it(project: Project) -> None:
    project.run("1", fails=True)
    project.run("it fails before it simulates anything", fails=True)
    assert len(project.kept()) == 1


@pytest.mark.slow
def test_seeds_are_forgotten_with_the_cache(project: Project) -> None:
    project.run("9", "--seeds", "20", fails=True)
    assert project.run("9", "--cache-clear", fails=False) == [0, 1, 2]


@pytest.mark.slow
def test_seeds_need_no_cache(project: Project) -> None:
    project.run("1", "-p", "no:cacheprovider", fails=True)
    assert project.kept() == []


# -- the file ---------------------------------------------------------------------------------


def test_failed_seeds_come_before_others_and_once(tmp_path: Path) -> None:
    FailedSeeds(tmp_path, "a").failed(7)
    assert FailedSeeds(tmp_path, "a").before(range(9)) == [7, 0, 1, 2, 3, 4, 5, 6, 8]
    assert FailedSeeds(tmp_path, "b").before(range(2)) == [0, 1]


def test_seed_that_passed_before_another_failed_is_forgotten(tmp_path: Path) -> None:
    for seed in (7, 8):
        FailedSeeds(tmp_path, "a").failed(seed)
    assert FailedSeeds(tmp_path, "a").before([]) == [8]


def test_seed_that_failed_before_others_were_tried_keeps_them(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    known = FailedSeeds(tmp_path / "x", "a")
    known.failed(3)
    file = next((tmp_path / "x").iterdir())
    file.write_text(json.dumps({"test": "a", "seeds": [3, 4, 5]}))
    FailedSeeds(tmp_path / "x", "a").failed(4)
    assert FailedSeeds(tmp_path / "x", "a").before([]) == [4, 5]


def test_seeds_are_kept_where_only_one_of_several_calls_has_passed(tmp_path: Path) -> None:
    known = FailedSeeds(tmp_path, "a")
    known.passed()
    known.failed(3)
    known.close()
    assert FailedSeeds(tmp_path, "a").before([]) == [3]


@pytest.mark.parametrize("text", ["", "[]", "{", '{"seeds": "1"}', '{"seeds": [true]}'])
def test_file_that_is_no_list_of_seeds_is_as_none(tmp_path: Path, text: str) -> None:
    FailedSeeds(tmp_path, "a").failed(3)
    next(tmp_path.iterdir()).write_text(text)
    assert FailedSeeds(tmp_path, "a").before([1]) == [1]


def test_seeds_that_cannot_be_kept_are_warned_about(tmp_path: Path) -> None:
    known = FailedSeeds(tmp_path / "missing", "a")
    with pytest.warns(pytest.PytestCacheWarning, match="can't be kept in pytest's cache"):
        known.failed(3)
