"""Settings of commands: flags, environment variables, `distio.toml`, and what is unknown there."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from typer.main import get_command

from distio.cli import main as cli
from distio.protocol.version import VERSION
from distio.runtime.configuration import BadConfiguration, configure
from distio_worker.main import app as daemon


class Ended(NamedTuple):
    code: int
    out: str
    err: str


Type = Callable[..., Ended]


@pytest.fixture
def types(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> Type:
    """Types a command in an empty directory."""
    monkeypatch.chdir(tmp_path)

    def run(*args: str) -> Ended:
        monkeypatch.setattr(sys, "argv", ["distio", *args])
        capfd.readouterr()
        with pytest.raises(SystemExit) as exit:
            cli.main()
        assert isinstance(exit.value.code, int)
        return Ended(exit.value.code, *capfd.readouterr())

    return run


def settings(types: Type) -> dict[str, tuple[Any, str]]:
    found = json.loads(types("config", "--json").out)
    return {each["setting"]: (each["value"], each["source"]) for each in found}


def test_setting_of_the_environment_comes_before_that_of_the_file_and_the_default(
    types: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("distio.toml").write_text(
        'url = "tcp://file:1"\n[coordinator]\ngrace = 3\nabsence = 4\n[worker]\nthreads = 2\n'
    )
    monkeypatch.setenv("DISTIO_COORDINATOR_GRACE", "5")
    found = settings(types)
    assert found["coordinator.grace"] == (5.0, "DISTIO_COORDINATOR_GRACE")
    assert found["coordinator.absence"] == (4.0, "the file (coordinator.absence)")
    assert found["coordinator.max-losses"] == (3, "default")
    assert found["worker.threads"] == (2, "the file (worker.threads)")
    assert found["url"] == ("tcp://file:1", "the file (url)")


@pytest.mark.slow
def test_flag_comes_before_all_that_is_configured(
    types: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTIO_URL", "nonsense")
    assert "nonsense" in types("status").err
    assert "typed" in types("status", "--connect", "typed").err
    Path("job.py").write_text("from distio import io\nmain = io.pure(5)\n")
    assert types("run", "job.py", "--workers", "0").out == "5\n"


@pytest.mark.slow
def test_command_of_a_group_reads_its_settings(
    types: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("distio.toml").write_text('[keys.add]\nrole = "observer"\nto = "folder"\n')
    monkeypatch.setenv("DISTIO_KEYS_ADD_TO", "elsewhere")
    found = settings(types)
    assert found["keys.add.role"] == ("observer", "the file (keys.add.role)")
    assert found["keys.add.to"] == ("elsewhere", "DISTIO_KEYS_ADD_TO")
    assert types("keygen", "keys").code == 0
    assert types("keys", "add", "looker", "--keys", "keys").code == 0
    assert "observer" in types("keys", "list", "--keys", "keys").out.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[coordinator]\ngarce = 3\n", "'coordinator.garce' is unknown; the nearest that there"),
        ("[coordinator]\ngarce = 3\n", "is: coordinator.grace"),
        ("[coordinatr]\ngrace = 3\n", "is: coordinator.grace"),
        ("ulr = 'x'\n", "is: url"),
        ("[journal.shwo]\njson = true\n", "is: journal.show.json"),
        ("[worker]\nthread = 3\n", "is: worker.threads"),
        ("grace 3", "isn't TOML"),
    ],
)
def test_file_with_what_no_command_reads_is_refused(types: Type, text: str, told: str) -> None:
    Path("distio.toml").write_text(text)
    ended = types("config")
    assert ended.code == 64
    assert told in ended.err
    if "worker" not in text:  # which its own program checks
        assert types("version").code == 64


@pytest.mark.parametrize(
    ("text", "told"),
    [("ulr = 'x'\n", "'ulr' is unknown; the nearest that there is: url"), ("url = 'x'\n", "")],
)
def test_misspelt_key_that_commands_share_is_refused_by_the_worker_as_well(
    text: str, told: str, tmp_path: Path
) -> None:
    file = tmp_path / "distio.toml"
    file.write_text(f"{text}[coordinator]\nof = 'another program'\n")
    command: Any = get_command(daemon)
    if not told:
        assert configure({"worker": command}, environment={"DISTIO_CONFIG": str(file)})
        return
    with pytest.raises(BadConfiguration, match=told):
        configure({"worker": command}, environment={"DISTIO_CONFIG": str(file)})


@pytest.mark.slow
def test_wrong_value_says_where_it_comes_from(types: Type, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("distio.toml").write_text('[coordinator]\nmax-losses = "many"\n')
    assert "(the file distio.toml says so)" in types("coordinator").err
    monkeypatch.setenv("DISTIO_COORDINATOR_MAX_LOSSES", "more")
    told = "(the environment variable DISTIO_COORDINATOR_MAX_LOSSES says so)"
    assert told in types("coordinator").err
    assert "says so" not in types("coordinator", "--max-losses", "most").err


def test_variable_that_no_command_reads_is_refused(
    types: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTIO_COORDINATOR_SERVICE_HOST", "10.0.0.1")  # of Kubernetes
    monkeypatch.setenv("DISTIO_COORDINATOR_PORT_7077_TCP", "tcp://10.0.0.1:7077")
    assert types("version").code == 0
    monkeypatch.setenv("DISTIO_COORDINATOR_GARCE", "3")
    assert types("version") == Ended(
        64,
        "",
        "distio: the environment variable DISTIO_COORDINATOR_GARCE is unknown; "
        "the nearest that there is: DISTIO_COORDINATOR_GRACE\n",
    )


@pytest.mark.slow
def test_file_that_a_variable_names_is_read_or_refused(
    types: Type, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DISTIO_CONFIG", "other.toml")
    ended = types("version")
    assert ended.code == 64
    assert "can't read other.toml (DISTIO_CONFIG names it): No such file" in ended.err
    Path("other.toml").write_text("[coordinator]\ngrace = 3\n")
    assert settings(types)["coordinator.grace"][0] == 3.0


def test_version_is_that_of_the_package() -> None:
    assert metadata.version("distio") == VERSION
