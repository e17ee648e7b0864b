"""The processes of members on this machine: the coordinator sees at once that one has ended.

A member whose connection broke may come back. On ipc the system knows the process at the other
end, so nobody waits for one that has ended. That need not be the process of the member: ssh, for
one, carries connections of others. When it has ended, the member may live, and may come back.
"""

from __future__ import annotations

import errno
import os
import platform
import socket
from collections.abc import Set
from typing import Any, final

from distio.protocol.text import readable
from distio.runtime.poller import Poller
from distio.runtime.systems import Credentials, credentials_at, watch_process

__all__ = ["PeerProcesses"]


@final
class PeerProcesses:
    """Watches processes, by members.

    Args:
        poller: waits for their ends.
    """

    def __init__(self, poller: Poller) -> None:
        self._poller = poller
        self._process_of: dict[int, int] = {}
        """By member: a descriptor of its process."""
        self._members_of: dict[int, set[int]] = {}

    def watch_peer(self, member: int, connection: int, host: str, pid: int) -> None:
        """Watch the process at the other end of this connection, if it is that of the member.

        Args:
            member: whose.
            connection: a descriptor of its connection.
            host: on which its process is, as it says.
            pid: what its process is there.
        """
        is_here = host == readable(platform.node()) and _peer_of(connection) == pid
        if is_here and member not in self._process_of:
            self.watch(member, pid)

    def watch(self, member: int, pid: int) -> bool:
        """Watch this process, which is that of a member; False if it has ended already."""
        try:
            process = watch_process(pid)
        except ProcessLookupError:
            return False
        except OSError as error:
            if error.errno != errno.ENOSYS:
                raise
            return True  # its end shows by its silence
        self._process_of[member] = process
        self._members_of.setdefault(process, set()).add(member)
        self._poller.register(process)
        return True

    def ended(self, events: Set[Any]) -> list[int]:
        """The members whose processes have ended, as these events tell.

        Since the events came, a member may have left and another one joined: the descriptor of
        the new process can have the number of the old one. So the system is asked again.
        """
        members: list[int] = []
        if not self._members_of.keys() & events:
            return members
        for process in self._members_of.keys() & self._poller.poll(0):
            members += self._members_of[process]
        for member in members:
            self.forget(member)
        return sorted(members)

    def forget(self, member: int) -> None:
        """Forget a member that has gone."""
        process = self._process_of.pop(member, None)
        if process is not None:
            members = self._members_of[process]
            members.discard(member)
            if not members:
                del self._members_of[process]
                self._poller.unregister(process)
                os.close(process)

    def keep_only(self, members: Any) -> None:
        """Forget all members but these."""
        for member in self._process_of.keys() - members:
            self.forget(member)

    def close(self) -> None:
        """Watch none any more."""
        self.keep_only(set())


def _peer_of(connection: int) -> int:
    """The pid of the process at the other end; 0: it isn't on this machine."""
    found = _credentials_of(connection)
    return 0 if found is None else found.pid


def _credentials_of(connection: int) -> Credentials | None:
    try:
        peer = socket.socket(fileno=connection)
    except OSError:  # it is closed already
        return None
    try:
        if peer.family != socket.AF_UNIX:
            return None
        return credentials_at(peer)
    except OSError:
        return None
    finally:
        peer.detach()
