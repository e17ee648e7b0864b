"""Workers in the actors of a Ray cluster.

Each bundle of a placement group has one actor, which keeps `distio-worker` processes beside itself.
Ray chooses the nodes, adds some if it can, and starts an actor again whose node or process was
lost. A node that Ray is about to take away is drained: a thread asks for such nodes, since Ray
tells nobody of them.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple, final

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from distio.errors import ClusterError
from distio.runtime.engines.hosted import GRACE_SECONDS, HostedWorkers, Launch
from distio.runtime.threads import start_thread

__all__ = ["Bundle", "OnRay"]

log: Final = logging.getLogger("distio")

_LOOK_SECONDS: Final = 2.0
_MAY_TAKE_SECONDS: Final = 5.0


class Bundle(NamedTuple):
    """The needs of one actor, in Ray's words."""

    cpus: float
    gpus: float
    memory: float | None
    """The memory in bytes."""
    resources: Mapping[str, float]

    def for_group(self) -> dict[str, float]:
        """The bundle as a placement group takes it."""
        named = {"CPU": self.cpus, "GPU": self.gpus, "memory": self.memory or 0.0}
        return {name: amount for name, amount in {**named, **self.resources}.items() if amount}

    def for_actor(self) -> dict[str, Any]:
        """The options as an actor takes them."""
        return {
            "num_cpus": self.cpus,
            "num_gpus": self.gpus,
            "memory": self.memory,
            "resources": dict(self.resources),
        }

    def for_worker(self) -> list[str]:
        """The options as the command line of a worker takes them."""
        amounts = {"gpu": self.gpus, **self.resources}
        return [
            argument
            for name, amount in amounts.items()
            if amount
            for argument in ("--resource", f"{name}={amount:g}")
        ]


@final
class OnRay:
    """A Ray cluster as the host of workers.

    Args:
        launch: what to start in each actor.
        count: how many actors.
        bundle: what each needs.
        strategy: how Ray spreads them over nodes.
        runtime_env: of the actors, as Ray takes it.
    """

    def __init__(
        self,
        launch: Launch,
        count: int,
        bundle: Bundle,
        strategy: str,
        runtime_env: Mapping[str, Any] | None,
    ) -> None:
        self._launch = launch._replace(arguments=(*launch.arguments, *bundle.for_worker()))
        self._count = count
        self._bundle = bundle
        self._strategy = strategy
        self._runtime_env = dict(runtime_env or {})
        self._group: Any = None
        self._actors: list[Any] = []
        self._nodes: dict[Any, str] = {}
        """By actor: its node, as far as that is known."""
        self._left: set[Any] = set()
        """The actors whose workers were told to leave."""
        self._is_ending = threading.Event()
        self._thread: threading.Thread | None = None

    @staticmethod
    def is_here() -> bool:
        """Whether all nodes of the Ray cluster are on this machine."""
        here = ray.util.get_node_ip_address()
        return all(node["NodeManagerAddress"] == here for node in ray.nodes() if node["Alive"])

    def begin(self) -> None:
        """Ask Ray for the actors; returns at once, as they may have to wait for nodes.

        Raises:
            ClusterError: Ray refuses, and why.
        """
        try:
            self._group = placement_group([self._bundle.for_group()] * self._count, self._strategy)
            keeper = ray.remote(Keeper)
            for index in range(self._count):
                options = keeper.options(
                    max_restarts=-1,
                    max_concurrency=2,  # it answers while its workers leave
                    runtime_env=self._runtime_env or None,
                    scheduling_strategy=PlacementGroupSchedulingStrategy(
                        self._group, placement_group_bundle_index=index
                    ),
                    **self._bundle.for_actor(),
                )
                self._actors.append(options.remote(self._launch))
        except Exception as error:
            self.end()
            raise ClusterError(
                f"Ray starts no workers ({type(error).__name__}: {error})"
            ) from error
        self._thread = start_thread("distio-ray", self._look_after, self._fail)

    def end(self) -> None:
        """End the workers; Ray goes on."""
        self._is_ending.set()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()
        actors, self._actors = self._actors, []
        group, self._group = self._group, None
        try:
            leaving = [actor.leave.remote(_MAY_TAKE_SECONDS) for actor in actors]
            ray.wait(leaving, num_returns=len(leaving), timeout=2 * _MAY_TAKE_SECONDS)
            for actor in actors:
                ray.kill(actor, no_restart=True)
            if group is not None:
                remove_placement_group(group)
        except Exception as error:  # noqa: BLE001 (whatever has become of Ray)
            log.debug("Ray doesn't end the actors: %s", error)

    # -- nodes that are about to go -----------------------------------------------------------

    def _look_after(self) -> None:
        asked = {actor: actor.node.remote() for actor in self._actors}
        while not self._is_ending.wait(_LOOK_SECONDS):
            done, _ = ray.wait([*asked.values()], num_returns=len(asked), timeout=0)
            for actor, answer in list(asked.items()):
                if answer in done:
                    self._take_up(actor, answer)
                    asked[actor] = actor.node.remote()  # it may have begun anew elsewhere
            draining = _draining_nodes()
            for actor, node in self._nodes.items():
                if node in draining and actor not in self._left:
                    self._left.add(actor)
                    seconds = max(1.0, draining[node] - time.time())
                    log.info("Ray takes node %s away in %.0f s: its workers leave", node, seconds)
                    actor.leave.remote(seconds)

    def _take_up(self, actor: Any, answer: Any) -> None:
        try:
            node = ray.get(answer)
        except ray.exceptions.RayError:  # its node is gone; Ray starts it again
            node = ""
        if self._nodes.get(actor) != node:
            self._nodes[actor] = node
            self._left.discard(actor)

    def _fail(self, error: BaseException) -> None:
        log.error("nodes that Ray takes away aren't drained any more", exc_info=error)


def _draining_nodes() -> dict[str, float]:
    """By node that is about to go: when it goes, in seconds of `time.time`.

    Ray has no public way to ask; a version that has another private one tells of none.
    """
    client = getattr(ray._private.worker.global_worker, "gcs_client", None)
    find = getattr(client, "get_draining_nodes", None)
    if find is None:
        return {}
    found = find()
    return {str(node): deadline / 1000 for node, deadline in found.items()}


class Keeper:
    """The actor: keeps workers beside itself.

    Args:
        launch: what to start.
    """

    def __init__(self, launch: Launch) -> None:
        self._node = ray.get_runtime_context().get_node_id()
        name = f"ray:{self._node[:8]}:{os.getpid()}"
        self._hosted = HostedWorkers(launch._replace(name=name))

    def node(self) -> str:
        """The node that it is on."""
        return str(self._node)

    def leave(self, seconds: float = GRACE_SECONDS) -> None:
        """Have the workers leave, and wait until they have."""
        self._hosted.leave(seconds)
