"""The needs of placed fibers, in words."""

from __future__ import annotations

from collections.abc import Mapping

from distio.protocol.ids import name_of
from distio.protocol.messages.placement import NoWorkerFits

__all__ = ["describe_unfit", "describe_worker"]


def describe_unfit(message: NoWorkerFits) -> str:
    """A fiber waits for a worker that isn't there, in words.

    >>> from distio.protocol.messages.placement import Needs
    >>> text = describe_unfit(NoWorkerFits(1 << 40, Needs({}, {"gpu": 2}), ["gpu-1 (gpu=1)"]))
    >>> text.partition("; it waits ")[0]
    'a fiber of run 1.0 needs a worker with gpu=2, and none is there'
    >>> text.partition("; it waits ")[2]
    'until one joins (distio-worker --resource gpu=2); the workers are gpu-1 (gpu=1)'
    """
    needs = message.needs
    options = [f"--tag {name}={value}" for name, value in needs.tags.items()]
    options += [f"--resource {name}={amount:g}" for name, amount in needs.amounts.items()]
    return (
        f"a fiber of run {name_of(message.run)} needs a worker with {needs}, and "
        f"none is there; it waits until one joins (distio-worker {' '.join(options)}); "
        f"the workers are {', '.join(message.workers) or 'none'}"
    )


def describe_worker(name: str, tags: Mapping[str, str], resources: Mapping[str, float]) -> str:
    """The name of a worker, with its tags and resources.

    >>> describe_worker("gpu-1", {}, {"gpu": 1.0})
    'gpu-1 (gpu=1)'
    """
    has = [f"{key}={value}" for key, value in tags.items()]
    has += [f"{key}={amount:g}" for key, amount in resources.items()]
    return f"{name} ({', '.join(has)})" if has else name
