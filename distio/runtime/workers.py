"""The options of a worker when it starts: its name, its threads, and what it has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, final

from distio.core import expect, labels
from distio.errors import MatchError
from distio.runtime.memory import require_limit

__all__ = ["Worker", "as_workers", "numbered", "pairs"]

_WHERE = "Worker"


@final
@dataclass(frozen=True)
class Worker:
    """The options of a worker process, which `distio-worker` takes.

    >>> from distio import Cluster, Worker
    >>> gpu = Worker(name="gpu", tags={"zone": "a"}, resources={"gpu": 2})
    >>> with Cluster.local([gpu, gpu, Worker(threads=4)]) as cluster:
    ...     sorted(each.name for each in cluster.wait_for(workers=3) if "gpu" in each.name)
    ['gpu-1', 'gpu-2']

    Args:
        threads: the number of threads that step fibers.
        name: its name, which no other living member of its cluster has: up to 100 printable
            characters without spaces. Several processes of one name get numbers. Empty: a name of
            its host and its process id.
        tags: what it is like, for `needs` and `prefer` of `io.placed`.
        resources: the amount of each resource that it has, for `needs` of `io.placed`.
        memory_limit: how much memory it may have, as `"2GiB"`, or as a share of what the machine or
            the container has, `"80%"`. A worker that comes near drains, ends, and is started again.
            Empty: no limit.

    Raises:
        MatchError: an argument is of another kind.
    """

    threads: int = 1
    name: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, float] = field(default_factory=dict)
    memory_limit: str = ""

    def __post_init__(self) -> None:
        if wrong := expect.no_count(self.threads, f"{_WHERE}, threads"):
            raise MatchError(wrong)
        if self.name != "":
            labels.label(self.name, _WHERE, "the name of a worker")
        if self.memory_limit != "":
            require_limit(self.memory_limit, _WHERE)
        object.__setattr__(self, "tags", labels.tags(self.tags, _WHERE))
        object.__setattr__(self, "resources", labels.amounts(self.resources, _WHERE))

    def __hash__(self) -> int:
        tags, resources = sorted(self.tags.items()), sorted(self.resources.items())
        return hash((self.threads, self.name, self.memory_limit, *tags, *resources))

    def equipment(self) -> dict[str, Any]:
        """The fields of `Hello` that the process sends of itself when it joins."""
        return {"name": self.name, "tags": self.tags, "resources": self.resources}

    def fields(self) -> dict[str, Any]:
        """The arguments that make an equal worker, as plain data."""
        return {
            "threads": self.threads,
            "memory_limit": self.memory_limit,
            **self.equipment(),
        }

    def options(self) -> list[str]:
        """The options of `distio-worker` for such a process."""
        given = ["--threads", str(self.threads)]
        if self.name:
            given += ["--name", self.name]
        if self.memory_limit:
            given += ["--memory-limit", self.memory_limit]
        given += [f"--tag={key}={value}" for key, value in self.tags.items()]
        return given + [f"--resource={key}={value!r}" for key, value in self.resources.items()]


def numbered(workers: Sequence[Worker]) -> list[Worker]:
    """The workers, those of one name with numbers from 1.

    >>> [each.name for each in numbered([Worker(name="a"), Worker(name="b"), Worker(name="a")])]
    ['a-1', 'b', 'a-2']
    """
    names = [each.name for each in workers]
    counts: dict[str, int] = {}
    out = []
    for worker in workers:
        if worker.name and names.count(worker.name) > 1:
            number = counts[worker.name] = counts.get(worker.name, 0) + 1
            worker = replace(worker, name=f"{worker.name}-{number}")
        out.append(worker)
    return out


def as_workers(found: Any, threads: int, where: str) -> list[Worker]:
    """The workers of a cluster, from how many there are, or from what each is like.

    Args:
        found: a number, or several `Worker`.
        threads: how many threads each has, if there is only a number.
        where: names the caller in errors.
    """
    if expect.is_count(found):
        return [Worker(threads)] * found
    is_list = isinstance(found, Sequence) and not isinstance(found, str)
    if is_list and found and all(isinstance(each, Worker) for each in found):
        return numbered(found)
    expected = "a number of workers from 1, or a list of Worker"
    raise MatchError(f"{where}: expected {expected}, but got {expect.shown(found)}")


def pairs(found: Sequence[str], option: str) -> dict[str, str]:
    """Parse the values of an option that may be given several times.

    >>> pairs(["zone=a", "rack=7"], "--tag")
    {'zone': 'a', 'rack': '7'}

    Raises:
        MatchError: one of them isn't NAME=VALUE, or two have one name.
    """
    out: dict[str, str] = {}
    for each in found:
        name, sign, value = each.partition("=")
        if not sign:
            raise MatchError(f"{option}: expected NAME=VALUE, but got {each!r}")
        if name in out:
            raise MatchError(f"{option}: {name} is given twice")
        out[name] = value
    return out
