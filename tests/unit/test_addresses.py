"""The address that a coordinator tells others."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from distio.cli import coordinator as cli


@pytest.fixture
def resolved(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of this host is alpha, and has this address."""
    found: list[Any] = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (request.param, 0))]
    monkeypatch.setattr(socket, "gethostname", lambda: "alpha")
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: found)


@pytest.mark.parametrize(
    ("url", "resolved", "joined"),
    [
        ("tcp://0.0.0.0:7077", "10.1.2.3", "tcp://10.1.2.3:7077"),
        ("tcp://0.0.0.0:7077", "127.0.1.1", "tcp://alpha:7077"),
        ("tcp://[::]:7077", "10.1.2.3", "tcp://10.1.2.3:7077"),
        ("tcp://127.0.0.1:7077", "10.1.2.3", "tcp://127.0.0.1:7077"),
        ("tcp://10.0.0.1:7077", "10.1.2.3", "tcp://10.0.0.1:7077"),
        ("ipc:///run/distio/coordinator", "10.1.2.3", "ipc:///run/distio/coordinator"),
    ],
    indirect=["resolved"],
)
@pytest.mark.usefixtures("resolved")
def test_coordinator_says_an_address_at_which_it_can_be_joined(
    url: str, joined: str, capsys: pytest.CaptureFixture[str]
) -> None:
    cli._say_ready(url)
    said = capsys.readouterr().out
    assert said == f"The coordinator is ready at {url}; join it with: distio-worker {joined}\n"
