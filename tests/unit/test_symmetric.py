"""The processes of one job find out who they are, and where to meet."""

from __future__ import annotations

import json
import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from distio.errors import ClusterError
from distio.runtime.symmetric import Meeting, Rank, rank_of

SLURM = {"SLURM_PROCID": "1", "SLURM_NTASKS": "4", "SLURM_JOB_ID": "17", "SLURM_STEP_ID": "2"}
OPEN_MPI = {"OMPI_COMM_WORLD_RANK": "0", "OMPI_COMM_WORLD_SIZE": "3", "PMIX_NAMESPACE": "9@1"}


@pytest.mark.parametrize(
    ("environment", "rank"),
    [
        (SLURM, Rank(1, 4, "17.2")),
        (SLURM | {"SLURM_STEP_NUM_NODES": "1"}, Rank(1, 4, "17.2", is_on_one_host=True)),
        (OPEN_MPI, Rank(0, 3, "9@1")),
        (OPEN_MPI | {"OMPI_COMM_WORLD_LOCAL_SIZE": "3"}, Rank(0, 3, "9@1", is_on_one_host=True)),
        (SLURM | OPEN_MPI, Rank(0, 3, "9@1")),
        ({"PMI_RANK": "2", "PMI_SIZE": "3", "PMI_JOBID": "job"}, Rank(2, 3, "job")),
    ],
)
def test_rank_is_what_the_engine_tells(environment: dict[str, str], rank: Rank) -> None:
    assert rank_of(environment) == rank


def test_rank_of_a_process_that_no_engine_has_started_says_what_to_do() -> None:
    with pytest.raises(ClusterError, match="has no rank: start the program on each host by srun"):
        rank_of({"HOME": "/root"})


@pytest.fixture
def url() -> Iterator[str]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


def test_ranks_meet_by_a_file_of_this_user_alone(tmp_path: Path, url: str) -> None:
    meeting = Meeting(tmp_path / "shared", "9@1/x")
    meeting.announce(url, {"secret.key": b"a", "coordinator.key": b"b"})
    assert meeting.path.name == "distio-9_1_x.json"
    assert stat.S_IMODE(meeting.keys.stat().st_mode) == 0o700
    assert {stat.S_IMODE(file.stat().st_mode) for file in meeting.keys.iterdir()} == {0o600}
    assert stat.S_IMODE(meeting.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(meeting.path.parent.stat().st_mode) == 0o700
    assert meeting.wait(10.0) == url
    meeting.remove()
    assert list(meeting.path.parent.iterdir()) == []


@pytest.mark.slow
def test_file_that_an_earlier_job_has_left_is_not_believed(tmp_path: Path) -> None:
    meeting = Meeting(tmp_path, "1")
    meeting.announce("tcp://127.0.0.1:1", {})
    with pytest.raises(ClusterError, match=r"rank 0 has not said within 0.1 s .*no coordinator"):
        meeting.wait(0.1)


@pytest.mark.slow
def test_file_that_others_may_write_is_not_believed(tmp_path: Path, url: str) -> None:
    meeting = Meeting(tmp_path, "1")
    meeting.path.write_text(json.dumps({"url": url}))
    meeting.path.chmod(0o644)
    with pytest.raises(ClusterError, match="not a file of this user alone"):
        meeting.wait(0.1)


@pytest.mark.slow
def test_link_to_a_file_is_not_followed(tmp_path: Path, url: str) -> None:
    target = Meeting(tmp_path, "other")
    target.announce(url, {})
    meeting = Meeting(tmp_path, "1")
    os.symlink(target.path, meeting.path)
    with pytest.raises(ClusterError, match="Too many levels of symbolic links"):
        meeting.wait(0.1)
