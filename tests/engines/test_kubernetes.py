"""The Job of the Kubernetes provider, checked by the schemas of Kubernetes itself."""

from __future__ import annotations

import json
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from distio.providers import Command, job_manifest
from distio.providers._kubernetes import secret_manifest

VALIDATE = Path(".venvs/engines/bin/kubernetes-validate").absolute()

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not VALIDATE.exists(), reason="needs kubernetes-validate: make test-engines"
    ),
]


def complaints(manifest: dict[str, Any], directory: Path) -> str:
    file = directory / "job.json"
    file.write_text(json.dumps(manifest))
    command = [str(VALIDATE), "--strict", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


def test_job_is_one_that_kubernetes_takes(tmp_path: Path) -> None:
    command = Command("tcp://10.0.0.7:7077", ["--threads", "2"], environment={"COLOUR": "red"})
    resources = {"cpu": "1", "memory": "2Gi"}
    with_keys = replace(command, keys={"secret.key": b"secret"})
    assert complaints(job_manifest("distio-1", with_keys, 3, image="app:1"), tmp_path) == ""
    assert complaints(secret_manifest("distio-1", with_keys.keys), tmp_path) == ""
    manifest = job_manifest(
        "distio-1", command, 3, image="app:1", requests=resources, limits=resources
    )
    assert complaints(manifest, tmp_path) == ""
    manifest["spec"]["completionMod"] = manifest["spec"].pop("completionMode")
    assert "completionMod" in complaints(manifest, tmp_path)
