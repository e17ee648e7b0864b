"""Workers that are pods of Kubernetes."""

from __future__ import annotations

import json
import secrets
import shlex
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Any, Final, final

from distio.providers._tools import ask
from distio.runtime.provider import KEYS, Command, Ended, Pending, Provider, Running, State

__all__ = ["Kubernetes", "job_manifest"]

_SYSTEM: Final = "Kubernetes"
_INDEX: Final = "batch.kubernetes.io/job-completion-index"
_LABEL: Final = "app.kubernetes.io/name"
_LINES: Final = 10
_KEYS_PATH: Final = "/etc/distio/keys"


def job_manifest(
    name: str,
    command: Command,
    count: int,
    *,
    image: str,
    python: str = "python3",
    requests: Mapping[str, str] | None = None,
    limits: Mapping[str, str] | None = None,
    grace_seconds: int = 30,
) -> dict[str, Any]:
    """The Job of so many workers: each pod is one, and none is started again by Kubernetes.

    If the command has keys, they are in a Secret of the name of the job.

    Args:
        name: that of the job; the pods are NAME-0, NAME-1 and so on.
        command: what they run.
        count: how many.
        image: the container image, which has distio.
        python: the Python in it.
        requests: the resources that a pod asks for, like `{"cpu": "1", "memory": "2Gi"}`.
        limits: the most that it may use.
        grace_seconds: how long a pod that is told to end may take.
    """
    worker = shlex.join([python, "-m", "distio_worker.main", *command.common()])
    # Kubernetes itself replaces `$(NAME)`, and makes `$` of `$$`
    serial = f"$$(({command.first} + JOB_COMPLETION_INDEX))"
    script = f'exec {worker} --serial {serial} --name "{name}-$JOB_COMPLETION_INDEX"'
    container: dict[str, Any] = {
        "name": "worker",
        "image": image,
        "command": ["sh", "-c", script],
        "env": [{"name": key, "value": value} for key, value in command.environment.items()],
        "resources": {"requests": dict(requests or {}), "limits": dict(limits or {})},
    }
    pod: dict[str, Any] = {
        "restartPolicy": "Never",
        "terminationGracePeriodSeconds": grace_seconds,
        "containers": [container],
    }
    if command.keys:
        # the files are root's; a user of the image reads them by the group
        pod["volumes"] = [{"name": "keys", "secret": {"secretName": name, "defaultMode": 0o440}}]
        container["volumeMounts"] = [{"name": "keys", "mountPath": _KEYS_PATH, "readOnly": True}]
        container["env"].append({"name": KEYS, "value": _KEYS_PATH})
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "labels": {_LABEL: "distio"}},
        "spec": {
            "completions": count,
            "parallelism": count,
            "completionMode": "Indexed",
            "backoffLimitPerIndex": 0,
            "podReplacementPolicy": "Failed",
            "template": {
                "metadata": {"labels": {_LABEL: "distio"}},
                "spec": pod,
            },
        },
    }


def secret_manifest(name: str, keys: Mapping[str, bytes]) -> dict[str, Any]:
    """The Secret with the keys of workers."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "labels": {_LABEL: "distio"}},
        "data": {file: b64encode(content).decode() for file, content in keys.items()},
    }


@final
class Kubernetes(Provider):
    """Workers that are pods of Kubernetes; this program runs where `kubectl` reaches the cluster.

    A pod that is evicted or deleted is told to end, and its fibers go on elsewhere. Another one
    takes its place.

    >>> from distio.providers import Kubernetes
    >>> Kubernetes("registry.example/app:1", bind="tcp://10.0.0.7:7077", requests={"cpu": "1"})
    Kubernetes('registry.example/app:1')

    Args:
        image: the container image, which has distio and what the programs import.
        bind: where the coordinator listens, `tcp://ADDRESS:PORT`, so that pods reach it.
        namespace: of the pods; empty: that of kubectl's context.
        context: of kubectl; empty: its current one.
        python: the Python in the image.
        requests: the resources that a pod asks for, like `{"cpu": "1", "memory": "2Gi"}`.
        limits: the most that it may use.
        grace_seconds: how long a pod that is told to end may take.
    """

    def __init__(
        self,
        image: str,
        *,
        bind: str,
        namespace: str = "",
        context: str = "",
        python: str = "python3",
        requests: Mapping[str, str] | None = None,
        limits: Mapping[str, str] | None = None,
        grace_seconds: int = 30,
    ) -> None:
        self.bind = bind
        self._image = image
        self._kubectl = ["kubectl"]
        self._kubectl += [f"--context={context}"] * bool(context)
        self._kubectl += [f"--namespace={namespace}"] * bool(namespace)
        self._pod: dict[str, Any] = {
            "image": image,
            "python": python,
            "requests": requests,
            "limits": limits,
            "grace_seconds": grace_seconds,
        }
        self._jobs: set[str] = set()
        self._seen: set[str] = set()
        """The workers that have had a pod."""

    def __repr__(self) -> str:
        return f"Kubernetes({self._image!r})"

    def start(self, command: Command, count: int) -> list[str]:
        job = f"distio-{secrets.token_hex(4)}"
        manifests = [job_manifest(job, command, count, **self._pod)]
        if command.keys:
            manifests = [secret_manifest(job, command.keys), *manifests]
        self._jobs.add(job)
        everything = {"apiVersion": "v1", "kind": "List", "items": manifests}
        self._ask("create", "--filename=-", stdin=json.dumps(everything))
        return [f"{job}-{index}" for index in range(count)]

    def status(self, names: Sequence[str]) -> Mapping[str, State]:
        jobs = sorted({_job_of(name) for name in names})
        if not jobs:
            return {}
        selector = f"--selector=job-name in ({','.join(jobs)})"
        found = json.loads(self._ask("get", "pods", selector, "--output=json"))
        pods = {_worker_of(pod): pod for pod in found["items"]}
        self._seen |= pods.keys()
        return {name: self._state(name, pods.get(name)) for name in names}

    def _state(self, name: str, pod: dict[str, Any] | None) -> State:
        if pod is None:
            gone = Ended(f"pod {name} was deleted")
            return gone if name in self._seen else Pending()
        state = state_of(pod)
        if isinstance(state, Ended):
            log = self._ask("logs", f"--tail={_LINES}", pod["metadata"]["name"])
            state = Ended(state.reason, log.rstrip("\n"), has_left=state.has_left)
        return state

    def stop(self, names: Sequence[str], seconds: float) -> None:
        for name in names:
            index = name.rpartition("-")[2]
            selector = f"--selector=job-name={_job_of(name)},{_INDEX}={index}"
            grace = f"--grace-period={max(1, int(seconds))}"
            self._ask("delete", "pods", selector, grace, "--wait=false")

    def close(self, names: Sequence[str]) -> None:
        if self._jobs:
            jobs, self._jobs = sorted(self._jobs), set()
            self._ask("delete", "jobs,secrets", *jobs, "--wait=false", "--ignore-not-found")

    def _ask(self, *arguments: str, stdin: str = "") -> str:
        return ask(_SYSTEM, [*self._kubectl, *arguments], stdin=stdin)


def state_of(pod: Mapping[str, Any]) -> State:
    """The state of a pod of which Kubernetes says this."""
    status = pod["status"]
    containers = [each["state"] for each in status.get("containerStatuses", [])]
    if status["phase"] in ("Succeeded", "Failed"):
        ends = [each["terminated"] for each in containers if "terminated" in each]
        why = status.get("reason", "")  # Evicted, for one
        if not why and ends:
            why = f"{ends[0].get('reason', 'ended')} with exit code {ends[0].get('exitCode')}"
        has_left = status["phase"] == "Succeeded"
        return Ended(f"pod {pod['metadata']['name']}: {why or status['phase']}", has_left=has_left)
    if status["phase"] == "Running":
        return Running()
    waits = [each["waiting"].get("reason", "") for each in containers if "waiting" in each]
    return Pending(waits[0] if waits else _why_unscheduled(status))


def _why_unscheduled(status: Mapping[str, Any]) -> str:
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return str(condition.get("message", condition.get("reason", "")))
    return ""


def _worker_of(pod: Mapping[str, Any]) -> str:
    metadata = pod["metadata"]
    return f"{metadata['labels']['job-name']}-{metadata['annotations'][_INDEX]}"


def _job_of(name: str) -> str:
    return name.rpartition("-")[0]
