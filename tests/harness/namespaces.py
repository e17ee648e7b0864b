"""Network namespaces, which only root can make: two machines on one."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.conftest import PATIENCE

__all__ = ["CutLink", "begin", "ip", "link"]


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, timeout=PATIENCE)


class CutLink:
    """A namespace that is joined to this one by a link, which can be cut.

    Raises:
        subprocess.CalledProcessError, OSError: this system doesn't let us have one.
    """

    def __init__(self, stack: ExitStack) -> None:
        tag = f"{os.getpid() % 100_000}"
        self.namespace, self.near, far = f"distio-{tag}", f"dn{tag}", f"df{tag}"
        net = os.getpid() % 250 + 1
        self.here, there = f"10.213.{net}.1", f"10.213.{net}.2"
        ip("netns", "add", self.namespace)
        stack.callback(ip, "netns", "del", self.namespace)
        ip("link", "add", self.near, "type", "veth", "peer", "name", far)
        # with its namespace it would go some time later, and the next test is to use its name
        stack.callback(ip, "link", "del", self.near)
        ip("link", "set", far, "netns", self.namespace)
        ip("addr", "add", f"{self.here}/30", "dev", self.near)
        self.set("up")
        ip("-n", self.namespace, "addr", "add", f"{there}/30", "dev", far)
        ip("-n", self.namespace, "link", "set", far, "up")
        ip("-n", self.namespace, "link", "set", "lo", "up")

    def set(self, state: str) -> None:
        """Cut the link ("down"), or mend it ("up")."""
        ip("link", "set", self.near, state)

    def start(self, stack: ExitStack, *command: str) -> subprocess.Popen[str]:
        """Start a program in the namespace."""
        inside = ["ip", "netns", "exec", self.namespace, *command]
        return begin(stack, inside)


def begin(stack: ExitStack, command: list[str]) -> subprocess.Popen[str]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    stack.callback(process.communicate)
    stack.callback(process.kill)
    return process


@pytest.fixture
def link() -> Iterator[CutLink]:
    with ExitStack() as stack:
        try:
            made = CutLink(stack)
        except (subprocess.CalledProcessError, OSError) as error:
            pytest.skip(f"this system lets us make no network namespace: {error}")
        yield made
