"""Workers beside those of a Dask cluster.

A plugin of each Dask worker, of those that are there and of those that come, keeps `distio-worker`
processes beside it. To Dask such a worker looks idle, so a plugin of the scheduler keeps adaptive
scaling from closing those beside which fibers live.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import os
from collections.abc import Iterable, Mapping
from typing import Any, Final, final
from urllib.parse import urlsplit

from distributed import Client, SchedulerPlugin, WorkerPlugin

from distio.errors import ClusterClosed, ClusterError
from distio.runtime.cluster import Cluster
from distio.runtime.engines.hosted import HostedWorkers, Launch
from distio.runtime.keys_folder import KeysFolder
from distio.runtime.roster import list_members

__all__ = ["KeepsBusyWorkers", "KeepsWorkers", "OnDask"]

log: Final = logging.getLogger("distio")

_PREFIX: Final = "dask:"
"""The names of workers begin so; then comes that of the Dask worker."""
_ANSWER_SECONDS: Final = 1.0


@final
class OnDask:
    """A Dask cluster as the host of workers.

    Args:
        client: of the Dask cluster.
        launch: what to start beside each worker.
        processes: how many; None: as many as the Dask worker has threads.
        workers: the addresses or names of Dask workers; None: all, also those that come later.
        keys: the files of an observer's folder of keys; empty: none are needed.
    """

    def __init__(
        self,
        client: Any,
        launch: Launch,
        processes: int | None,
        workers: Iterable[str] | None,
        keys: Mapping[str, bytes],
    ) -> None:
        if not isinstance(client, Client) or client.asynchronous:
            raise ClusterError(
                f"Cluster.on_dask takes a distributed.Client that isn't asynchronous, but got "
                f"{type(client).__name__}"
            )
        self._client = client
        self._launch = launch
        self._processes = processes
        self._keys = dict(keys)
        self._only = None if workers is None else frozenset(map(str, workers))
        self._name = f"distio-{launch.url}"

    @staticmethod
    def is_here(client: Any) -> bool:
        """Whether all of a Dask cluster is on this machine."""
        host = urlsplit(client.scheduler.address).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:  # in this process
            return str(client.scheduler.address).startswith("inproc:")

    def begin(self) -> None:
        """Start workers beside those of Dask.

        Raises:
            ClusterError: they can't be started at one of these, and why.
        """
        keeps = KeepsWorkers(self._name, self._launch, self._processes, self._only)
        try:
            self._client.register_plugin(KeepsBusyWorkers(self._name, self._launch.url, self._keys))
            self._client.register_plugin(keeps)
        except Exception as error:
            self.end()
            raise ClusterError(
                f"no workers can be started beside those of Dask ({type(error).__name__}: "
                f"{error}); distio has to be installed there, too"
            ) from error

    def end(self) -> None:
        """End the workers; Dask goes on."""
        for unregister in (
            self._client.unregister_worker_plugin,
            self._client.unregister_scheduler_plugin,
        ):
            try:
                unregister(self._name)
            except Exception as error:  # noqa: BLE001 (whatever has become of Dask)
                log.debug("Dask doesn't give a plugin back: %s", error)


@final
class KeepsWorkers(WorkerPlugin):  # type: ignore[misc]  # Dask has no types
    """Keeps workers beside one of Dask.

    Args:
        name: what Dask calls the plugin.
        launch: see `OnDask`.
        processes: see there.
        only: see there.
    """

    def __init__(
        self, name: str, launch: Launch, processes: int | None, only: frozenset[str] | None
    ) -> None:
        self.name = name
        self._launch = launch
        self._processes = processes
        self._only = only
        self._hosted: HostedWorkers | None = None

    def setup(self, worker: Any) -> None:
        """Begin the workers; Dask calls it in a worker, when the worker begins or the plugin
        comes."""
        if self._only is not None and self._only.isdisjoint((worker.address, str(worker.name))):
            return
        arguments = [*self._launch.arguments]
        for resource, amount in worker.state.total_resources.items():
            arguments += ["--resource", f"{resource}={amount:g}"]
        launch = self._launch._replace(
            name=name_beside(worker.name),
            processes=self._processes or worker.state.nthreads,
            arguments=tuple(arguments),
        )
        self._hosted = HostedWorkers(launch)

    async def teardown(self, worker: Any) -> None:
        """End the workers; Dask calls it when the worker ends or the plugin goes: the fibers go on
        elsewhere."""
        if self._hosted is not None:
            await asyncio.to_thread(self._hosted.leave)


@final
class KeepsBusyWorkers(SchedulerPlugin):  # type: ignore[misc]  # Dask has no types
    """Keeps adaptive scaling from closing workers of Dask beside which fibers live.

    Args:
        name: what Dask calls the plugin.
        url: where the coordinator listens.
        keys: see `OnDask`.
    """

    def __init__(self, name: str, url: str, keys: Mapping[str, bytes]) -> None:
        self.name = name
        self._url = url
        self._files = keys
        self._folder: KeysFolder | None = None
        self._cluster: Cluster | None = None

    def valid_workers_downscaling(self, scheduler: Any, workers: list[Any]) -> list[Any]:
        """Tell Dask which of these workers may be closed."""
        try:
            if self._cluster is None:
                self._folder = KeysFolder(self._files)
                keys = self._folder.path
                self._cluster = Cluster.connect(self._url, timeout=_ANSWER_SECONDS, keys=keys)
            members = list_members(self._cluster._host, _ANSWER_SECONDS)
        except (ClusterError, ClusterClosed, TimeoutError) as error:
            self._forget()
            log.debug("no worker of Dask is closed, since nobody says which have fibers: %s", error)
            return []
        busy = {beside(member.name) for member in members if member.fibers}
        return [worker for worker in workers if str(worker.name) not in busy]

    async def close(self) -> None:
        """End the plugin; Dask calls it when the scheduler ends or the plugin goes."""
        await asyncio.to_thread(self._forget)

    def _forget(self) -> None:
        cluster, self._cluster = self._cluster, None
        if cluster is not None:
            cluster.close()
        if self._folder is not None:
            self._folder.remove()


def name_beside(name: object) -> str:
    """The name of workers beside a worker of Dask; one that begins again has another name.

    >>> beside(name_beside("a:1") + "-2")
    'a:1'
    """
    return f"{_PREFIX}{name}:{os.getpid()}"


def beside(name: str) -> str:
    """The name of the worker of Dask beside which this worker is; empty if it is beside none."""
    return name.removeprefix(_PREFIX).rpartition(":")[0] if name.startswith(_PREFIX) else ""
