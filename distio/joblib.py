"""distio as a backend of joblib: what libraries compute with `Parallel` runs on worker processes.

Importing this module registers the backend. It needs joblib: `pip install distio[joblib]`.

>>> from joblib import Parallel, delayed, parallel_config
>>> import distio.joblib
>>> with parallel_config(backend="distio", n_jobs=2):
...     Parallel()(delayed(pow)(n, 2) for n in range(5))
[0, 1, 4, 9, 16]
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, final

from joblib.parallel import (
    AutoBatchingMixin,
    FallbackToBackend,
    ParallelBackendBase,
    SequentialBackend,
    register_parallel_backend,
)

from distio._plain._places import Where, place_asked_for, slots_of
from distio._plain._pool import Pool
from distio._plain._session import waiting_for_errands
from distio._public import publish
from distio.core.context_vars import copied, of_the_caller
from distio.runtime.cluster import Cluster

__all__ = ["DistioBackend"]


@final
class DistioBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]  # joblib has no types
    """The backend that `parallel_config(backend="distio")` chooses.

    The worker processes are those of `distio.map`: they start with the first `Parallel`, and serve
    later ones. A `Parallel` within a call uses threads of its worker, as with joblib's own backend;
    one within that runs in turn.

    Args:
        on: the cluster whose workers make the calls instead:
            `parallel_config(backend="distio", on=cluster)`.
        backend_kwargs: what joblib gives to each backend.
    """

    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(self, *, on: Cluster | None = None, **backend_kwargs: Any) -> None:
        super().__init__(**backend_kwargs)
        self._on = on
        place_asked_for(on, None, None, "the joblib backend")
        self._pool: Pool | None = None

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many calls run at a time; with -1 as many as there are workers, or cores."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        if n_jobs > 0 and self._on is None:
            return min(n_jobs, slots_of(self._where(n_jobs)))
        most = slots_of(self._where(None))
        return min(n_jobs, most) if n_jobs > 0 else max(most + 1 + n_jobs, 1)

    def _where(self, n_jobs: int | None) -> Where:
        return (self._on, None, None) if self._on is not None else (None, None, n_jobs)

    def configure(
        self,
        n_jobs: int = 1,
        parallel: Any = None,
        prefer: str | None = None,
        require: str | None = None,
        **backend_kwargs: Any,
    ) -> int:
        """Prepare for the calls of one `Parallel`; return how many run at a time."""
        count = self.effective_n_jobs(n_jobs)
        if count == 1:
            raise FallbackToBackend(SequentialBackend(nesting_level=self.nesting_level))
        self.parallel = parallel
        # batches are submitted by other threads, too
        variables = partial(copied, of_the_caller())
        self._pool = Pool(self._where(count), None, is_shared=True, variables=variables)
        return count

    def submit(
        self, func: Callable[[], Any], callback: Callable[[Future[Any]], Any] | None = None
    ) -> Future[Any]:
        """Have a batch of calls made."""
        assert self._pool is not None
        future = self._pool.submit(func, (), {})
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, out: Future[Any]) -> Any:
        """The values of a batch; or the exception that a call of it has raised."""
        return out.result()

    def retrieval_context(self) -> AbstractContextManager[None]:
        """A context for a thread that waits for results: another thread takes its place
        meanwhile."""
        return waiting_for_errands()

    def terminate(self) -> None:
        """The `Parallel` is over; the workers stay for the next one."""
        if self._pool is not None:
            self._pool.shut()
            self._pool = None
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """A call has failed, or the user has interrupted: the rest isn't wanted any more."""
        if self._pool is not None:
            self._pool.abort()
            self._pool = None
        if ensure_ready:
            self.configure(n_jobs=self.parallel.n_jobs, parallel=self.parallel)


register_parallel_backend("distio", DistioBackend)


publish(__name__, globals())
