"""The commands of providers: command lines, scripts, manifests; and how answers are read."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from distio.errors import ClusterError, MatchError
from distio.protocol.version import PROTOCOL, PYTHON
from distio.providers import (
    SSH,
    Command,
    Ended,
    Kubernetes,
    Pending,
    Running,
    Slurm,
    State,
    job_manifest,
)
from distio.providers._kubernetes import state_of
from distio.providers._ssh import SSHCommands, _explanation

COMMAND = Command("ipc:///tmp/here/coordinator", ["--threads", "2"], first=5)
ODD = 'a\'b; touch /tmp/x $(id) "`id`" *'


@pytest.fixture
def program(tmp_path: Path) -> Callable[..., str]:
    """Makes a program that stands in for ssh, or for one of a batch system."""

    def make(name: str, script: str) -> str:
        path = tmp_path / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return str(path)

    return make


# -- ssh --------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["-oProxyCommand=touch /tmp/x", "two words", "", "a\nb", 5])
def test_ssh_host_that_ssh_could_take_for_something_else_is_refused(host: Any) -> None:
    with pytest.raises(MatchError, match="expected the name of a host"):
        SSH([host])


@pytest.mark.parametrize("hosts", ["node1", [], None])
def test_ssh_without_a_list_of_hosts_says_what_is_expected(hosts: Any) -> None:
    with pytest.raises(MatchError, match="expected a list of hosts"):
        SSH(hosts)


def test_ssh_commands_give_the_remote_shell_each_argument_as_it_is() -> None:
    commands = SSHCommands(python=ODD, environment=(("NAME", ODD),), directory="/")
    *_, host, remote = commands.work("host", "/tmp/d", "/tmp/l", ["ipc://x", ODD], 30.0)
    assert host == "host"
    script = shlex.split(remote)[3]
    shown = script.replace("exec env", "exec printf '%s\\n'", 1)
    done = subprocess.run(["sh", "-c", shown], capture_output=True, text=True, check=True)
    expected = [f"NAME={ODD}", ODD, "-m", "distio_worker.main", "ipc://x", ODD, "--tethered"]
    assert done.stdout.splitlines() == expected


def test_ssh_commands_end_options_before_the_host() -> None:
    command = SSHCommands(options=("-p", "2222")).look("host", 1)
    assert command[-3:-1] == ["--", "host"]
    assert command.index("-p") < command.index("--")


def test_ssh_client_that_is_missing_is_one_sentence_that_names_the_host() -> None:
    with pytest.raises(ClusterError, match=r"no program /no/ssh .* starts workers on node1"):
        SSH(["node1"], program="/no/ssh").start(COMMAND, 1)


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ("echo Permission denied >&2; exit 255", "can't reach node1 by ssh .Permission denied."),
        ("echo 'sh: py: not found' >&2; exit 127", r"node1 has no Python 'py' \(sh: py: not fo"),
        ("exit 121", "node1 has no directory '/there'"),
        ("echo hello", "Python 'py' of node1 can't be used: exited with code 0"),
        ("""echo 'distio-host: {"missing": "No module named distio"}'""", "install distio there"),
        ("""echo 'distio-host: {"refused": "disk full"}'""", "node1 .*disk full"),
        ("""echo 'distio-host: {"versions": [1, "3.11"]}'""", "node1 has Python 3.11 and protocol"),
    ],
)
def test_ssh_host_that_cannot_have_workers_is_told_in_one_line(
    program: Callable[..., str], script: str, complaint: str
) -> None:
    ssh = SSH(["node1"], program=program("ssh", script), python="py", directory="/there")
    with pytest.raises(ClusterError, match=complaint) as raised:
        ssh.start(COMMAND, 1)
    assert "\n" not in str(raised.value)


def test_ssh_workers_go_where_the_fewest_are_for_their_share(
    program: Callable[..., str], tmp_path: Path
) -> None:
    answer = json.dumps({"versions": [PROTOCOL, PYTHON], "directories": ["/tmp/d1", "/tmp/d2"]})
    # the first connection answers, that of a worker waits for the end of its input
    script = (
        f"case \"$*\" in *ServerAlive*) cat >/dev/null;; *) echo 'distio-host: {answer}';; esac"
    )
    ssh = SSH(["a", "b", "b"], program=program("ssh", script))
    try:
        assert ssh.start(COMMAND, 3) == ["a-1", "b-1", "b-2"]
        assert list(ssh.status(["a-1", "b-2"]).values()) == [Running(), Running()]
    finally:
        ssh.close([])
    assert isinstance(ssh.status(["a-1"])["a-1"], Ended)


def test_ssh_worker_in_the_place_of_another_is_on_the_same_host(
    program: Callable[..., str],
) -> None:
    answer = json.dumps({"versions": [PROTOCOL, PYTHON], "directories": ["/tmp/d1"]})
    ssh = SSH(["a", "b"], program=program("ssh", f"echo 'distio-host: {answer}'"))
    command = Command("ipc:///tmp/here/coordinator", places=[0])
    other = Command("ipc:///tmp/here/coordinator", places=[1])
    try:
        started = [ssh.start(each, 1) for each in (command, other, other, command)]
        assert started == [["a-1"], ["b-1"], ["b-2"], ["a-2"]]
    finally:
        ssh.close([])


@pytest.mark.parametrize(
    ("code", "end"),
    [
        (0, Ended("exited with code 0 on node1", "x", has_left=True)),
        (3, Ended("exited with code 3 on node1", "x")),
        (137, Ended("killed by SIGKILL on node1", "x")),
        (255, Ended("the ssh connection to node1 has ended: x", "x", is_certain=False)),
        (
            -9,
            Ended(
                "the ssh connection to node1 has ended: killed by SIGKILL", "x", is_certain=False
            ),
        ),
    ],
)
def test_end_of_a_connection_does_not_tell_of_the_end_of_the_worker(code: int, end: Ended) -> None:
    assert _explanation("node1")(code, ["x"]) == end


# -- Slurm ------------------------------------------------------------------------------------


@pytest.fixture
def slurm(program: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """A Slurm whose programs answer what the test says, and keep what they were given."""

    def make(**answers: str) -> Slurm:
        for name, answer in answers.items():
            program(
                name, f'echo "$@" >>{tmp_path}/{name}.args; cat >{tmp_path}/{name}.in\n{answer}'
            )
        monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
        return Slurm(
            partition="short",
            time="30",
            prologue="module load python",
            directory=str(tmp_path),
            bind="tcp://127.0.0.1:0",
        )

    return make


def test_slurm_starts_an_array_whose_tasks_have_names_and_serial_numbers(
    slurm: Any, tmp_path: Path
) -> None:
    command = Command("tcp://127.0.0.1:1", ["--x"], first=5, environment={"A": ODD})
    assert slurm(sbatch="echo '17;cluster'").start(command, 2) == ["slurm-17_0", "slurm-17_1"]
    given = (tmp_path / "sbatch.args").read_text()
    for option in ("--array=0-1", "--partition=short", "--time=30", "--signal=B:TERM@60"):
        assert option in given.split()
    script = (tmp_path / "sbatch.in").read_text()
    assert script.index("module load python") < script.index("exec ")
    shown = script.replace("exec ", 'printf "%s\\n" "$A" ').replace("module load", ":")
    variables = os.environ | {"SLURM_ARRAY_JOB_ID": "17", "SLURM_ARRAY_TASK_ID": "1"}
    done = subprocess.run(["sh", "-c", shown], capture_output=True, text=True, env=variables)
    assert done.stdout.splitlines()[0] == ODD
    assert done.stdout.splitlines()[-4:] == ["--serial", "6", "--name", "slurm-17_1"]


def test_slurm_puts_keys_where_nodes_find_them_and_nobody_else(slurm: Any, tmp_path: Path) -> None:
    provider = slurm(sbatch="echo 17", squeue="true")
    provider.start(Command("tcp://127.0.0.1:1", keys={"secret.key": b"secret"}), 1)
    script = (tmp_path / "sbatch.in").read_text()
    folder = Path(script.split("export DISTIO_KEYS=")[1].splitlines()[0])
    assert folder.parent.parent == tmp_path
    assert folder.parent.stat().st_mode & 0o777 == 0o700
    assert folder.stat().st_mode & 0o777 == 0o700
    assert (folder / "secret.key").read_bytes() == b"secret"
    assert (folder / "secret.key").stat().st_mode & 0o777 == 0o600
    provider.close([])
    assert not folder.exists()


def test_slurm_says_of_each_job_how_it_is(slurm: Any, tmp_path: Path) -> None:
    (tmp_path / "distio-9_2.log").write_text("one\ntwo\n")
    queue = "9_0|PENDING|Resources\n9_1|RUNNING|None\n9_2|OUT_OF_MEMORY|None\n9_3|COMPLETED|None"
    found = slurm(squeue=f"echo '{queue}'", sacct="echo '9_4|CANCELLED by 0'").status(
        [f"slurm-9_{n}" for n in range(5)]
    )
    expected: list[State] = [
        Pending("PENDING (Resources)"),
        Running(),
        Ended("job 9_2 of Slurm: OUT_OF_MEMORY", "one\ntwo"),
        Ended("job 9_3 of Slurm: COMPLETED", has_left=True),
        Ended("job 9_4 of Slurm: CANCELLED"),
    ]
    assert list(found.values()) == expected


def test_slurm_job_that_nobody_remembers_has_ended(slurm: Any) -> None:
    provider = slurm(squeue="echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1")
    state = provider.status(["slurm-3_0"])["slurm-3_0"]
    assert state == Ended("job 3_0 of Slurm: gone from the queue")


def test_slurm_that_refuses_is_told_with_its_words(slurm: Any) -> None:
    refusing = slurm(sbatch="echo 'sbatch: error: invalid partition specified: short' >&2; exit 1")
    with pytest.raises(ClusterError, match=r"Slurm refuses `sbatch .*invalid partition"):
        refusing.start(COMMAND, 1)


def test_slurm_tells_running_jobs_to_leave_and_cancels_those_that_wait(
    slurm: Any, tmp_path: Path
) -> None:
    queue = "9_0|PENDING|Resources\n9_1|RUNNING|None\n9_2|COMPLETED|None"
    provider = slurm(squeue=f"echo '{queue}'", scancel="true")
    provider.stop(["slurm-9_0", "slurm-9_1", "slurm-9_2"], 5.0)
    assert (tmp_path / "scancel.args").read_text() == "--signal=TERM --batch 9_1\n9_0\n"


@pytest.mark.parametrize("time", ["soon", "1h"])
def test_slurm_time_that_is_none_is_refused(time: str) -> None:
    with pytest.raises(MatchError, match="expected a time"):
        Slurm(time=time)


# -- Kubernetes -------------------------------------------------------------------------------


def test_kubernetes_job_has_one_pod_a_worker_with_its_name_and_serial_number() -> None:
    manifest = job_manifest("job", COMMAND, 3, image="app:1", requests={"cpu": "1"})
    assert manifest["spec"]["completions"] == manifest["spec"]["parallelism"] == 3
    [container] = manifest["spec"]["template"]["spec"]["containers"]
    script = container["command"][2].replace("$$", "$")  # as Kubernetes does
    shown = script.replace("exec ", "printf '%s\\n' ")
    variables = os.environ | {"JOB_COMPLETION_INDEX": "2"}
    done = subprocess.run(["sh", "-c", shown], capture_output=True, text=True, env=variables)
    assert done.stdout.splitlines()[-4:] == ["--serial", "7", "--name", "job-2"]


def test_kubernetes_pods_find_keys_in_a_secret_that_ends_with_the_job(
    program: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program("kubectl", f'echo "$@" >>{tmp_path}/args; cat >>{tmp_path}/in')
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    provider = Kubernetes("app:1", bind="tcp://127.0.0.1:0", namespace="mine")
    names = provider.start(Command("tcp://127.0.0.1:1", keys={"secret.key": b"secret"}), 2)
    job = names[0].removesuffix("-0")
    secret, made = json.loads((tmp_path / "in").read_text())["items"]
    assert secret["data"] == {"secret.key": "c2VjcmV0"}
    pod = made["spec"]["template"]["spec"]
    assert pod["volumes"][0]["secret"]["secretName"] == secret["metadata"]["name"] == job
    [container] = pod["containers"]
    path = container["volumeMounts"][0]["mountPath"]
    assert {"name": "DISTIO_KEYS", "value": path} in container["env"]
    provider.close([])
    last = (tmp_path / "args").read_text().splitlines()[-1]
    assert last.startswith(f"--namespace=mine delete jobs,secrets {job} ")


POD = {"metadata": {"name": "job-0-x"}}


@pytest.mark.parametrize(
    ("status", "state"),
    [
        ({"phase": "Running"}, Running()),
        ({"phase": "Pending"}, Pending()),
        (
            {
                "phase": "Pending",
                "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull"}}}],
            },
            Pending("ErrImagePull"),
        ),
        (
            {
                "phase": "Failed",
                "containerStatuses": [
                    {"state": {"terminated": {"reason": "OOMKilled", "exitCode": 137}}}
                ],
            },
            Ended("pod job-0-x: OOMKilled with exit code 137"),
        ),
        ({"phase": "Failed", "reason": "Evicted"}, Ended("pod job-0-x: Evicted")),
        ({"phase": "Succeeded"}, Ended("pod job-0-x: Succeeded", has_left=True)),
    ],
)
def test_kubernetes_pod_says_how_it_is(status: dict[str, Any], state: State) -> None:
    assert state_of(POD | {"status": status}) == state
