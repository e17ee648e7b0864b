"""The numbers of a coordinator over HTTP, and the dashboard that shows them."""

from __future__ import annotations

import json
import re
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from distio.errors import ClusterError
from distio.runtime import metrics
from distio.runtime.coordinator_options import CoordinatorOptions
from distio.runtime.coordinator_process import CoordinatorProcess
from distio.runtime.metrics import Metrics, Numbers, address_of, families
from distio.runtime.observing import observing
from tests.conftest import PATIENCE

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "distio.json"
NUMBERS = Numbers({"worker": 2}, 1, {"sleeping": 3}, 0, 0, 5, 6, 7, 1, 2, 0, {"peer": 4}, 0.5)


@pytest.fixture
def coordinator() -> Iterator[CoordinatorProcess]:
    process = CoordinatorProcess("tcp://127.0.0.1:0", CoordinatorOptions(is_insecure=True))
    process.instruments.serve_metrics("127.0.0.1:0")
    thread = threading.Thread(target=process.run)
    thread.start()
    yield process
    process.stop()
    thread.join()


def get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.slow
def test_coordinator_serves_its_numbers_and_its_health(coordinator: CoordinatorProcess) -> None:
    assert coordinator.instruments.metrics is not None
    url = coordinator.instruments.metrics.url
    with observing(coordinator.url) as observer:
        observer.overview()
        code, page = get(f"{url}/metrics")
    assert code == 200
    samples = [each for family in text_string_to_metric_families(page) for each in family.samples]
    found = {(each.name, *each.labels.values()): each.value for each in samples}
    assert found["distio_members", "observer"] == 1
    assert found["distio_messages_heard_total",] > 0
    assert found["process_resident_memory_bytes",] > 1e6
    assert get(f"{url}/healthz") == (200, "ok\n")
    assert get(f"{url}/else")[0] == 404


@pytest.mark.slow
def test_server_whose_loop_does_not_answer_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(metrics, "ANSWER_SECONDS", 0.01)
    server = Metrics("127.0.0.1:0", lambda: None)
    try:
        assert get(f"{server.url}/healthz") == (503, "no answer\n")
        assert get(f"{server.url}/metrics")[0] == 503
    finally:
        server.close()


@pytest.mark.parametrize("address", ["0.0.0.0:9464", "example.org:80", "9464", "127.0.0.1:x"])
def test_metrics_beyond_this_machine_are_refused(address: str) -> None:
    with pytest.raises(ClusterError, match="on an address of this machine alone"):
        address_of(address)


def test_dashboard_shows_metrics_that_there_are() -> None:
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text())
    shown = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    names = {name for expression in shown for name in re.findall(r"distio_\w+", expression)}
    there = {each.name for family in families(NUMBERS, 0.1) for each in family.samples}
    assert names == there
