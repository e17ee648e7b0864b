"""The kits in deploy/ are what those that take them expect: systemd, Docker, Kubernetes."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.conftest import PATIENCE

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
ENGINES = ROOT / ".venvs" / "engines" / "bin"
"""Of the environment in which `make test-engines` installs the tools."""
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
MOST_EXPOSED = 2.0
"""systemd rates units from 0, the best, to 10."""

needs_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None, reason="needs systemd-analyze"
)


def needs(tool: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        not (ENGINES / tool).exists(), reason=f"needs {tool}: make test-engines"
    )


def said(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    return done.stdout


# -- systemd ----------------------------------------------------------------------------------


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_unit_has_no_key_that_systemd_does_not_know(unit: Path, tmp_path: Path) -> None:
    # systemd looks for the program and the user, which are not on this machine
    here = re.sub(r"/opt/distio/bin/\S+", "/bin/sh", unit.read_text())
    copy = tmp_path / unit.name
    copy.write_text(re.sub(r"^(User|Group)=.*\n", "", here, flags=re.MULTILINE))
    said("systemd-analyze", "verify", copy)  # it exits with 0 whatever it finds, but says so


@needs_systemd
@pytest.mark.parametrize("unit", UNITS, ids=lambda unit: unit.stem)
def test_unit_is_hardened_as_its_readme_says(unit: Path) -> None:
    rated = said("systemd-analyze", "security", "--offline=true", "--no-pager", unit)
    found = re.search(r"exposure level for \S+: ([\d.]+)", rated)
    assert found is not None
    assert float(found[1]) <= MOST_EXPOSED
    assert found[1] in (DEPLOY / "systemd" / "README.md").read_text()


# -- containers -------------------------------------------------------------------------------


@needs("hadolint")
def test_dockerfile_pleases_its_linter() -> None:
    assert said(ENGINES / "hadolint", DEPLOY / "docker" / "Dockerfile") == ""


# -- Kubernetes -------------------------------------------------------------------------------

VALUES = {
    "deployment": {},
    "job": {"worker": {"kind": "job"}},
    "gpus": {
        "worker": {
            "tags": ["zone=a"],
            "resourceAmounts": ["gpu=1"],
            "nodeSelector": {"disk": "fast"},
            "tolerations": [{"key": "gpu", "operator": "Exists"}],
        }
    },
}


def rendered(values: object) -> str:
    return said(ENGINES / "python", ROOT / "tests" / "engines" / "kits.py", json.dumps(values))


@needs("kubernetes-validate")
@pytest.mark.parametrize("name", VALUES)
def test_chart_is_what_kubernetes_expects(name: str, tmp_path: Path) -> None:
    manifests = tmp_path / "rendered.yaml"
    manifests.write_text(rendered(VALUES[name]))
    subprocess.run(
        [ENGINES / "kubernetes-validate", "--strict", manifests],
        check=True,
        timeout=PATIENCE,
        env={"PATH": os.environ["PATH"]},
    )


@needs("kubernetes-validate")
def test_manifests_are_the_chart_as_it_is() -> None:
    manifests = DEPLOY / "kubernetes" / "manifests.yaml"
    if "TESTS_REWRITE" in os.environ:
        manifests.write_text(rendered({}))
    assert manifests.read_text() == rendered({})


@needs("kubernetes-validate")
def test_chart_with_another_kind_of_worker_is_refused() -> None:
    with pytest.raises(AssertionError, match=r"worker\.kind is deployment or job, but got pet"):
        rendered({"worker": {"kind": "pet"}})
