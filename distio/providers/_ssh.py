"""Workers on other machines, started over ssh.

Each worker has an ssh connection of its own. The coordinator listens at a socket in a private
directory here; ssh carries connections to it from a socket there (`-R`), in a directory that only
this user may enter. So no port is opened anywhere, and whoever ssh lets in is let in. The standard
input of the remote command is the worker's tether: if this program ends, or the connection, or the
network in between, the worker ends as well.

A first connection to each host makes the directories, and looks whether Python and distio are
there. Otherwise a worker that can't start would be a riddle.
"""

from __future__ import annotations

import base64
import json
import re
import shlex
import subprocess
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any, Final, final

from distio.core import expect
from distio.errors import ClusterError, MatchError
from distio.protocol.version import PROTOCOL, PYTHON
from distio.providers._programs import Programs, exit_in_words
from distio.runtime.addresses import ipc_path
from distio.runtime.provider import Command, Ended, Provider, State

__all__ = ["SSH"]

_FAILED: Final = 255
"""The exit code of ssh itself."""
_NO_DIRECTORY: Final = 121
_NOT_FOUND: Final = {126, 127}
_MARK: Final = "distio-host: "
"""Begins the line that is meant for us: what else a shell prints when it starts isn't."""
_MOST_AT_ONCE: Final = 32
"""How many hosts are looked at, at a time."""
_LOOK_SECONDS: Final = 60.0
_MAY_TAKE_SECONDS: Final = 5.0
_SHOWN_LINES: Final = 3
_HOST: Final = re.compile(r"[^\s\x00-\x1f-][^\s\x00-\x1f]*")

_LOOK_CODE: Final = f"""\
import json, sys, tempfile
found = {{}}
try:
    import distio_worker.main
    from distio.protocol.version import PROTOCOL, PYTHON
    found["versions"] = [PROTOCOL, PYTHON]
    made = range(int(sys.argv[1]))
    found["directories"] = [tempfile.mkdtemp(prefix="distio-", dir="/tmp") for _ in made]
except ImportError as error:
    found["missing"] = str(error)
except OSError as error:
    found["refused"] = str(error)
print({_MARK!r} + json.dumps(found))
"""
"""The code that the first connection runs; `mkdtemp` makes directories of mode 0700."""
_ON_ONE_LINE: Final = base64.b64encode(_LOOK_CODE.encode()).decode()
_LOOK: Final = f"exec(__import__('base64').b64decode('{_ON_ONE_LINE}'))"
"""The code in one line: some shells allow no newline between quotes."""


@final
@dataclass(frozen=True)
class SSHCommands:
    """The command lines of ssh; each is a function of what was given.

    Args:
        program: the ssh client.
        options: more options for it.
        python: the Python there.
        environment: variables there.
        directory: the working directory there; empty: the one that ssh gives.
    """

    program: str = "ssh"
    options: tuple[str, ...] = ()
    python: str = "python3"
    environment: tuple[tuple[str, str], ...] = ()
    directory: str = ""

    def with_environment(self, environment: Mapping[str, str]) -> SSHCommands:
        """The same, with variables that the own ones may change."""
        return replace(self, environment=(*environment.items(), *self.environment))

    def look(self, host: str, count: int) -> list[str]:
        """Look at a host, and make so many directories."""
        return self._ssh(host, [], self._remotely(["-c", _LOOK, str(count)]))

    def work(
        self, host: str, remote: str, local: str, arguments: Sequence[str], patience: float
    ) -> list[str]:
        """Run a worker in a directory there, which is removed when it has ended."""
        seconds = max(1, int(patience / 3))
        forward = ["-o", "ExitOnForwardFailure=yes", "-R", f"{remote}/coordinator:{local}"]
        alive = ["-o", f"ServerAliveInterval={seconds}", "-o", "ServerAliveCountMax=3"]
        worker = self._remotely(["-m", "distio_worker.main", *arguments, "--tethered"])
        cleanup = f"code=$?; rm -rf {shlex.quote(remote)}; exit $code"
        return self._ssh(host, [*alive, *forward], f"({worker}); {cleanup}")

    def _remotely(self, arguments: Sequence[str]) -> str:
        variables = [f"{name}={value}" for name, value in self.environment]
        command = shlex.join(["env", *variables, self.python, *arguments])
        if not self.directory:
            return f"exec {command}"
        return f"cd {shlex.quote(self.directory)} || exit {_NO_DIRECTORY}; exec {command}"

    def _ssh(self, host: str, options: Sequence[str], script: str) -> list[str]:
        fixed = ["-T", "-a", "-x", "-o", "BatchMode=yes", "-o", "ConnectTimeout=15"]
        # a connection that others share would outlive this one, or end it
        alone = ["-o", "ControlMaster=no", "-o", "ControlPath=none"]
        # the login shell, whichever it is, gives the script to sh
        remote = shlex.join(["exec", "sh", "-c", script])
        return [self.program, *fixed, *alone, *self.options, *options, "--", host, remote]


@final
class SSH(Provider):
    """Workers on hosts that this user reaches by ssh, without a password.

    The hosts need the same Python and distio as there are here. No port is opened, and no key has
    to be made: the connections to the coordinator are carried by ssh.

    >>> from distio.providers import SSH
    >>> SSH(["node1", "admin@node2"], python="/opt/venv/bin/python")
    SSH(['node1', 'admin@node2'])

    Args:
        hosts: how ssh knows them. Workers go where the fewest are; a host that is named twice gets
            twice as many.
        python: the Python there, which has distio.
        environment: variables for the workers, beside those that ssh gives.
        directory: the working directory of the workers; by default the one that ssh gives.
        options: options for the ssh client, like `["-p", "2222"]`. Options that a host always needs
            are better in `~/.ssh/config`.
        program: the ssh client.

    Raises:
        MatchError: there is no host, or one isn't the name of a host.
    """

    def __init__(
        self,
        hosts: Sequence[str],
        *,
        python: str = "python3",
        environment: Mapping[str, str] | None = None,
        directory: str = "",
        options: Sequence[str] = (),
        program: str = "ssh",
    ) -> None:
        given: Any = hosts
        if isinstance(given, str) or not given:
            raise MatchError(
                f"SSH: expected a list of hosts, like ['node1', 'node2'], "
                f"but got {expect.shown(hosts)}"
            )
        for host in given:
            if not (isinstance(host, str) and _HOST.fullmatch(host)):
                raise MatchError(
                    f"SSH: expected the name of a host, as for `ssh NAME`, but got "
                    f"{expect.shown(host)}"
                )
        self.hosts = list(hosts)
        variables = tuple((environment or {}).items())
        self._commands = SSHCommands(program, tuple(options), python, variables, directory)
        self._programs = Programs()
        self._host_of: dict[int, str] = {}
        """By place of a worker: its host. If that is gone, the place waits until it is back."""
        self._numbers: Counter[str] = Counter()
        """How many workers each host has had."""

    def __repr__(self) -> str:
        return f"SSH({self.hosts})"

    def start(self, command: Command, count: int) -> list[str]:
        local = ipc_path(command.url)
        if local is None:
            raise ClusterError(
                f"ssh carries connections to a socket on this machine, but the coordinator listens "
                f"at {command.url}; leave out bind"
            )
        if ":" in str(local):
            raise ClusterError(
                f"ssh can't carry connections to {local}: there is a colon in it; set TMPDIR to "
                f"another directory"
            )
        hosts = self._choose(command.places or range(count))
        directories = self._look_at(Counter(hosts))
        names = []
        for index, host in enumerate(hosts):
            remote = directories[host].pop()
            self._numbers[host] += 1
            name = f"{host}-{self._numbers[host]}"
            options = command.options(index, name, f"ipc://{remote}/coordinator")
            commands = self._commands.with_environment(command.environment)
            self._programs.start(
                name,
                commands.work(host, remote, str(local), options, command.patience),
                environment={},
                patience=command.patience,
                explain=_explanation(host),
            )
            names.append(name)
        return names

    def _choose(self, places: Sequence[int]) -> list[str]:
        """The host of each place: a new one is where the fewest are for their share."""
        shares = Counter(self.hosts)
        for place in places:
            if place not in self._host_of:
                load = Counter(self._host_of.values())
                least = min(shares, key=lambda each: load[each] / shares[each])
                self._host_of[place] = least
        return [self._host_of[place] for place in places]

    def _look_at(self, counts: Mapping[str, int]) -> dict[str, list[str]]:
        """Look at these hosts at the same time; the directories of each."""
        with ThreadPoolExecutor(min(len(counts), _MOST_AT_ONCE), "distio-ssh") as pool:
            looks = {host: pool.submit(self._look, host, n) for host, n in counts.items()}
        return {host: look.result() for host, look in looks.items()}

    def _look(self, host: str, count: int) -> list[str]:
        program, python = self._commands.program, self._commands.python
        try:
            done = subprocess.run(
                self._commands.look(host, count),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_LOOK_SECONDS,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            raise ClusterError(
                f"there is no program {program} on this machine, which starts workers on {host}; "
                f"install an ssh client (openssh-client), or give its path: SSH(program=...)"
            ) from error
        except subprocess.TimeoutExpired as error:
            raise ClusterError(
                f"{host} has not answered ssh within {_LOOK_SECONDS:g} s; try `ssh {host} true`"
            ) from error
        last = _last_lines(done.stderr)
        if done.returncode == _FAILED:
            raise ClusterError(f"can't reach {host} by ssh{last}; try `ssh {host} true`")
        if done.returncode in _NOT_FOUND:
            raise ClusterError(
                f"{host} has no Python {python!r}{last}; say where it is: SSH(python=...)"
            )
        if done.returncode == _NO_DIRECTORY:
            raise ClusterError(
                f"{host} has no directory {self._commands.directory!r} to work in{last}; give "
                f"another: SSH(directory=...)"
            )
        return _directories(host, python, done.stdout, f"{exit_in_words(done.returncode)}{last}")

    def status(self, names: Sequence[str]) -> Mapping[str, State]:
        return self._programs.status(names)

    def stop(self, names: Sequence[str], seconds: float) -> None:
        self._programs.stop(names, seconds)

    def watch(self, changed: Callable[[], None]) -> bool:
        self._programs.changed = changed
        return True

    def close(self, names: Sequence[str]) -> None:
        self._programs.close(_MAY_TAKE_SECONDS)


def _directories(host: str, python: str, stdout: str, otherwise: str) -> list[str]:
    """Parse the answer of a host.

    Raises:
        ClusterError: it can't have workers, and why.
    """
    found: dict[str, Any] = {}
    for line in stdout.splitlines():
        if line.startswith(_MARK):
            found = json.loads(line.removeprefix(_MARK))
    if "missing" in found:
        raise ClusterError(
            f"the Python {python!r} of {host} can't run workers ({found['missing']}); install "
            f"distio there, or name another Python: SSH(python=...)"
        )
    if "refused" in found:
        raise ClusterError(f"{host} lets nobody make a directory ({found['refused']})")
    if "versions" not in found:
        raise ClusterError(f"the Python {python!r} of {host} can't be used: {otherwise}")
    if found["versions"] != [PROTOCOL, PYTHON]:
        protocol, version = found["versions"]
        raise ClusterError(
            f"{host} has Python {version} and protocol {protocol} of distio, but here they are "
            f"{PYTHON} and {PROTOCOL}; install the same there, or name another Python: "
            f"SSH(python=...)"
        )
    return list(found["directories"])


def _explanation(host: str) -> Callable[[int, list[str]], Ended]:
    def explain(code: int, lines: list[str]) -> Ended:
        tail = "\n".join(lines)
        if code == _FAILED or code < 0:
            why = exit_in_words(code) if code < 0 else lines[-1] if lines else "no reason given"
            reason = f"the ssh connection to {host} has ended: {why}"
            return Ended(reason, tail, is_certain=False)
        return Ended(f"{exit_in_words(code)} on {host}", tail, has_left=code == 0)

    return explain


def _last_lines(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f" ({' / '.join(lines[-_SHOWN_LINES:])})" if lines else ""
