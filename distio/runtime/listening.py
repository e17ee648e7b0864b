"""Where a coordinator listens, on the wire that belongs to its address."""

from __future__ import annotations

from pathlib import Path

from distio.runtime.addresses import ipc_path
from distio.runtime.connections import Connections
from distio.runtime.unix_connections import UnixConnections

__all__ = ["listen", "require_free"]


def listen(url: str, patience: float, keys: Path | None, *, is_insecure: bool) -> Connections:
    """Listen at an address.

    Args:
        url: where to listen; port 0 lets the system choose one.
        patience: for how many seconds a member on TCP may give no sign of life.
        keys: the folder of the coordinator's keys, for TCP; None: whoever can connect may join.
        is_insecure: see `check_bind`.

    Raises:
        ClusterError: the address can't be had, or the keys can't be used.
        OSError: the system refuses, and why.
    """
    if ipc_path(url) is not None:
        return UnixConnections(url)
    from distio.runtime.zmq_connections import ZmqConnections  # as `Lines` imports it

    return ZmqConnections(url, patience, keys, is_insecure=is_insecure)


def require_free(url: str, *, has_keys: bool, is_insecure: bool) -> None:
    """Check that a coordinator could listen there now; see `check_bind`.

    Raises:
        ClusterError: it couldn't, and why.
    """
    if ipc_path(url) is None:
        from distio.runtime.zmq_connections import require_free_port

        require_free_port(url, has_keys=has_keys, is_insecure=is_insecure)
        return
    connections = UnixConnections(url)
    connections.close()
    connections.binding.release()
