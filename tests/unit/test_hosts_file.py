"""Files that say where the workers of `distio up` are."""

from __future__ import annotations

from pathlib import Path

import pytest

from distio.cli.hosts import BadHosts, read_hosts
from distio.providers import SSH, Local
from distio.runtime.cores import usable_cores

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.mark.parametrize("kit", ["local", "ssh", "slurm"])
def test_example_of_each_kit_can_be_read(kit: str) -> None:
    assert read_hosts(DEPLOY / kit / "hosts.toml").workers >= 2


def test_no_file_is_this_machine() -> None:
    hosts = read_hosts(None)
    assert isinstance(hosts.provider, Local)
    assert hosts.workers == usable_cores()


def test_file_of_ssh_hosts_has_a_worker_for_each_unless_it_says_how_many(tmp_path: Path) -> None:
    file = tmp_path / "hosts.toml"
    file.write_text('[ssh]\nhosts = ["a", "b", "c"]\n[cluster]\nthreads = 2\n')
    hosts = read_hosts(file)
    assert isinstance(hosts.provider, SSH)
    assert (hosts.workers, hosts.options) == (3, {"threads": 2})


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "can't read"),
        ("[ssh", "is no TOML"),
        ("", r"expected \[cluster\], and one of \[local\], .* but it has none of them"),
        ("[local]\n[ssh]\nhosts=['a']", r"but it has \[local\], \[ssh\]"),
        ("[ssh]", r"\[ssh\] needs hosts"),
        ("[ssh]\nhost=['a']", r"\[ssh\] has host, but may have only hosts, python"),
        ("[ssh]\nhosts='a'", "expected a list of hosts"),
        ("[cluster]\nworker=1\n[local]", r"\[cluster\] has worker, but may have only bind"),
    ],
)
def test_file_that_cannot_be_used_says_what_it_may_have(
    text: str | None, complaint: str, tmp_path: Path
) -> None:
    file = tmp_path / "hosts.toml"
    if text is not None:
        file.write_text(text)
    with pytest.raises(BadHosts, match=complaint):
        read_hosts(file)
