"""Where coordinators may listen, and the directories of local ones."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from distio.errors import ClusterError

__all__ = [
    "LONGEST_IPC_PATH",
    "URL_FILE",
    "check_bind",
    "check_url",
    "check_urls",
    "ipc_path",
    "own_address",
    "private_directory",
    "url_to_join",
]

URL_FILE: Final = "url"
"""The file in the directory of a program's coordinator that says where it listens."""
_IPC: Final = "ipc://"
_BETWEEN: Final = re.compile(r",\s*(?=(?:tcp|ipc)://)")
"""A comma between two URLs; the path of a socket may have others."""
LONGEST_IPC_PATH: Final = 100
"""A little less than what the system allows for the path of a socket (107 bytes on Linux)."""


def check_url(url: Any) -> str:
    """Return `url` if a coordinator can be reached by such a one.

    Raises:
        ClusterError: it can't, and why.
    """
    try:
        parts = urlsplit(url if isinstance(url, str) else "")
        port = parts.port
    except ValueError:  # brackets that don't match, or a port that is no number
        parts, port = urlsplit(""), None
    is_tcp = parts.scheme == "tcp" and parts.hostname and port is not None
    is_ipc = parts.scheme == "ipc" and len(url) > len(_IPC)
    if not (is_tcp or is_ipc):
        raise ClusterError(
            f"the URL of a coordinator is tcp://HOST:PORT or ipc://PATH, but got {url!r}; "
            f"give one like tcp://127.0.0.1:7077"
        )
    return str(url)


def check_urls(urls: Any) -> list[str]:
    """The URLs in `urls`, where commas are between them: a coordinator is at one of these.

    >>> check_urls("tcp://alpha:7077,tcp://beta:7077")
    ['tcp://alpha:7077', 'tcp://beta:7077']

    Raises:
        ClusterError: a coordinator can't be reached by one of them, and why.
    """
    parts = _BETWEEN.split(urls) if isinstance(urls, str) else [urls]
    return [check_url(part) for part in parts]


def check_bind(url: str, *, has_keys: bool, is_insecure: bool) -> str:
    """Return `url` if a coordinator may listen there.

    Args:
        url: where.
        has_keys: whether it lets nobody in without a key.
        is_insecure: whether it may listen on loopback without keys.

    Raises:
        ClusterError: it may not: anybody beyond this user could send programs to run.
    """
    check_url(url)
    if (path := ipc_path(url)) is not None:
        if os.fspath(path).startswith(("@", "*")):
            raise ClusterError(
                f"refused to listen on {url}: any user of this machine could connect to such a "
                f"name and run programs as you; use ipc:// and the path of a socket"
            )
        return url
    if has_keys:
        return url
    if not is_insecure:
        raise ClusterError(
            f"refused to listen on {url} without keys: anybody who reaches the port could run "
            f"programs as you; make keys with `distio keygen DIR` and give --keys DIR, or listen "
            f"on ipc://PATH; on loopback, --insecure lets in every user of this machine"
        )
    if not _is_loopback(urlsplit(url).hostname or ""):
        raise ClusterError(
            f"refused to listen on {url} without keys: --insecure is for loopback alone, and "
            f"beyond it anybody who reaches the port could run programs as you; make keys with "
            f"`distio keygen DIR`, and give --keys DIR"
        )
    return url


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def ipc_path(url: str) -> Path | None:
    """The path of the socket at this URL; None: it isn't an ipc URL.

    >>> ipc_path("ipc:///run/distio/coordinator"), ipc_path("tcp://127.0.0.1:7077")
    (PosixPath('/run/distio/coordinator'), None)
    """
    return Path(url[len(_IPC) :]) if url.startswith(_IPC) else None


def private_directory() -> Path:
    """Make a directory (0700) for the socket of a local coordinator."""
    import tempfile  # which a worker doesn't need

    directory = Path(tempfile.mkdtemp(prefix="distio-"))
    if len(os.fsencode(directory)) > LONGEST_IPC_PATH - 20:
        directory.rmdir()
        directory = Path(tempfile.mkdtemp(prefix="distio-", dir="/tmp"))
    return directory


def own_address() -> str:
    """The address by which other hosts reach this one, as far as names tell."""
    try:
        found: list[Any] = socket.getaddrinfo(
            socket.gethostname(), None, socket.AF_INET, socket.SOCK_STREAM
        )
    except OSError:
        return "127.0.0.1"
    return str(found[0][4][0])


def url_to_join(url: str) -> str:
    """The URL by which members reach the coordinator that listens at `url`.

    One that listens at all addresses of this host has one that other hosts know, or else its name.

    >>> url_to_join("tcp://10.0.0.1:7077")
    'tcp://10.0.0.1:7077'
    """
    parts = urlsplit(url)
    try:
        is_any = ipaddress.ip_address(parts.hostname or "").is_unspecified
    except ValueError:  # a name, or no host at all
        is_any = False
    if not is_any:
        return url
    address = own_address()
    host = socket.gethostname() if _is_loopback(address) else address
    return f"tcp://{host}:{parts.port}"
