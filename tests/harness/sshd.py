"""An ssh server of a test, on loopback, with keys of its own; and a network that can be cut."""

from __future__ import annotations

import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

__all__ = ["Network", "SshServer", "ssh_server"]

_SSHD = shutil.which("sshd") or shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
_NEEDED = {"sshd": _SSHD, "ssh": shutil.which("ssh"), "ssh-keygen": shutil.which("ssh-keygen")}
MISSING = [name for name, path in _NEEDED.items() if path is None]

_SERVER = """\
ListenAddress 127.0.0.1
Port {port}
HostKey {directory}/host_key
AuthorizedKeysFile {directory}/authorized_keys
PasswordAuthentication no
UsePAM no
StrictModes no
PidFile none
MaxStartups 100
"""
_CLIENT = """\
Host {hosts}
  HostName 127.0.0.1
  Port {port}
  IdentityFile {directory}/id
  IdentitiesOnly yes
  UserKnownHostsFile {directory}/known_hosts
  StrictHostKeyChecking yes
  LogLevel ERROR
"""


class Network:
    """Carries bytes between clients and a port, until it is cut: then nobody hears of an end."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self._is_cut = threading.Event()
        self._sockets: list[socket.socket] = [self._server]
        self._spawn(self._accept)

    def cut(self) -> None:
        """Let no more bytes through; connections stay as they are."""
        self._is_cut.set()

    def close(self) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _spawn(self, work: object, *arguments: object) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()  # type: ignore[arg-type]  # methods of this class

    def _accept(self) -> None:
        with suppress(OSError):  # it is closed
            while True:
                client, _ = self._server.accept()
                server = socket.create_connection(("127.0.0.1", self._target))
                self._sockets += [client, server]
                self._spawn(self._carry, client, server)
                self._spawn(self._carry, server, client)

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if self._is_cut.is_set():
                    return
                target.sendall(data)
            if not self._is_cut.is_set():
                target.shutdown(socket.SHUT_WR)


class SshServer:
    """Reached as the hosts node1 and node2 with `options`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        for name in ("host_key", "id"):
            command = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / name)]
            subprocess.run(command, check=True)
        shutil.copy(directory / "id.pub", directory / "authorized_keys")
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        config = directory / "sshd_config"
        config.write_text(_SERVER.format(port=port, directory=directory))
        with suppress(OSError):  # if it isn't root's, the server needs none
            Path("/run/sshd").mkdir(exist_ok=True)
        assert _SSHD is not None
        self.process = subprocess.Popen(
            [_SSHD, "-D", "-e", "-f", str(config)], stderr=subprocess.PIPE, text=True
        )
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if "listening on" in line:
                break
        self._reader = threading.Thread(target=self.process.stderr.read)
        self._reader.start()
        self.network = Network(port)
        key = (directory / "host_key.pub").read_text()
        known = f"[127.0.0.1]:{self.network.port} {key}"
        (directory / "known_hosts").write_text(known)
        client = _CLIENT.format(hosts="node1 node2", port=self.network.port, directory=directory)
        (directory / "config").write_text(client)
        self.options = ["-F", str(directory / "config")]

    def workers(self) -> list[psutil.Process]:
        """The worker processes that were started through this server."""
        children = psutil.Process(self.process.pid).children(recursive=True)
        return [each for each in children if "distio_worker.main" in _arguments(each)]

    def close(self) -> None:
        server = psutil.Process(self.process.pid)
        for each in [*server.children(recursive=True), server]:
            with suppress(psutil.NoSuchProcess):
                each.kill()
        self.process.wait()
        self._reader.join()
        assert self.process.stderr is not None
        self.process.stderr.close()
        self.network.close()


def _arguments(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.NoSuchProcess:
        return []


@pytest.fixture
def ssh_server(tmp_path: Path) -> Iterator[SshServer]:
    """A server that ends with the test."""
    if MISSING:
        pytest.skip(f"needs {', '.join(MISSING)} (the Debian packages openssh-server and -client)")
    server = SshServer(tmp_path)
    yield server
    server.close()
