"""Rules for the files of the repository as a whole: its locks, and the hosts that it names."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
NAMES = ["dev", "oldest", "bench", "docs", "packaging"]
LOCKS = [ROOT / "requirements" / f"{name}.txt" for name in NAMES]
DEVELOPMENT, OLDEST, *_ = LOCKS

# the parts are apart, so that this file names no host either
REGISTRIES = [
    ".".join(parts)
    for parts in [
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("pypi", "python", "org"),
        ("npmjs", "org"),
        ("npmjs", "com"),
        ("deb", "debian", "org"),
        ("security", "debian", "org"),
        ("snapshot", "debian", "org"),
        ("archive", "ubuntu", "com"),
        ("anaconda", "org"),
        ("crates", "io"),
    ]
]


TABLE = tomllib.loads((ROOT / "pyproject.toml").read_text())


def requirements() -> list[Requirement]:
    """The requirements of pyproject.toml: to build, to run, to develop."""
    project = TABLE["project"]
    lists = [
        TABLE["build-system"]["requires"],
        project["dependencies"],
        project["optional-dependencies"]["dev"],
    ]
    return [Requirement(each) for requirements in lists for each in requirements]


def groups() -> list[tuple[str, Requirement]]:
    """The requirements of what has an environment of its own, each with the name of its group."""
    lists = TABLE["dependency-groups"].items()
    return [(group, Requirement(each)) for group, requirements in lists for each in requirements]


def versions(lock: Path, name: str) -> list[Version]:
    """The versions of a package that a lock names: several, if markers tell them apart."""
    pins = map(Requirement, re.findall(r"^[A-Za-z0-9].*(?= \\$)", lock.read_text(), re.M))
    return [
        Version(each.version)
        for pin in pins
        if canonicalize_name(pin.name) == canonicalize_name(name)
        for each in pin.specifier
    ]


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_lock_of_development_satisfies_each_requirement(requirement: Requirement) -> None:
    """A failure asks for `make lock`."""
    found = versions(DEVELOPMENT, requirement.name)
    assert found
    assert all(requirement.specifier.contains(version) for version in found), found


@pytest.mark.parametrize(("group", "requirement"), groups(), ids=str)
def test_lock_of_a_group_satisfies_each_requirement(group: str, requirement: Requirement) -> None:
    """A failure asks for `make lock`."""
    found = versions(ROOT / "requirements" / f"{group}.txt", requirement.name)
    assert found
    assert all(requirement.specifier.contains(version) for version in found), found


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_lock_of_the_oldest_pins_each_lower_bound(requirement: Requirement) -> None:
    """A bound is the version that `make test-oldest` has run; a failure asks for `make lock`."""
    [bound] = requirement.specifier
    assert bound.operator in (">=", "==")
    assert set(versions(OLDEST, requirement.name)) == {Version(bound.version)}


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: path.name)
def test_lock_has_hashes_and_names_no_source(lock: Path) -> None:
    """Every line is a comment, a version, or one of its hashes; none is an option of pip."""
    version = r"[A-Za-z0-9][A-Za-z0-9._-]*==\S+(?: ; .+)? \\"
    a_hash = r"    --hash=sha256:[0-9a-f]{64}"
    package = rf"{version}\n(?:{a_hash} \\\n)*{a_hash}\n"
    assert re.fullmatch(rf"(?:{package}|(?: {{4}})?#.*\n)+", lock.read_text())
    assert "://" not in lock.read_text()


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a checkout of the repository")
def test_files_name_no_host_of_a_package_registry() -> None:
    """Each machine says itself where its packages come from."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        capture_output=True,
        check=True,
        cwd=ROOT,
    )
    paths = [ROOT / name.decode() for name in listed.stdout.split(b"\0") if name]
    assert len(paths) > 100
    host = re.compile("|".join(map(re.escape, REGISTRIES)).encode(), re.IGNORECASE)
    naming = {path: host.findall(path.read_bytes()) for path in paths if path.is_file()}
    assert {path: hosts for path, hosts in naming.items() if hosts} == {}
