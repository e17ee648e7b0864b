"""Code that is sent to workers whole: it is found wherever the fibers of a run come to."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from distio import Cluster, io
from distio.result import Ok
from tests.conftest import PATIENCE

pytestmark = pytest.mark.slow


def price(item: int) -> tuple[int, str]:
    from shop_of_tests import prices  # type: ignore[import-not-found]  # it was sent

    price: tuple[int, str] = prices.of(item)
    return price


def make_shop(directory: Path, factor: int) -> Path:
    shop = directory / "shop_of_tests"
    shop.mkdir(exist_ok=True)
    (shop / "__init__.py").touch()
    (shop / "currency.txt").write_text("EUR")
    (shop / "prices.py").write_text(
        "from pathlib import Path\n\n"
        "def of(item):\n"
        f"    return item * {factor}, Path(__file__).with_name('currency.txt').read_text()\n"
    )
    return shop


def prices(count: int) -> Any:
    return io.zip_par([io.sleep(0.01).then(io.defer(price, item)) for item in range(count)])


def test_shipped_package_is_found_on_all_workers_and_its_new_version_later(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, 2)
    with Cluster.local(workers=2) as cluster:
        cluster.ship(shop)
        # the root is on one worker, and starts fibers that move on to the other
        assert cluster.submit(prices(8), None).result(PATIENCE) == Ok(
            [(2 * item, "EUR") for item in range(8)]
        )
        make_shop(tmp_path, 3)
        cluster.ship(shop)
        assert prices(8).run(None, on=cluster) == Ok([(3 * item, "EUR") for item in range(8)])
        cluster.submit(prices(1), None, name="named").result(PATIENCE).unsafe_get()


def test_shipped_code_of_distio_run_reaches_workers(tmp_path: Path) -> None:
    shop = make_shop(tmp_path, 2)
    main = tmp_path / "elsewhere" / "main.py"
    main.parent.mkdir()
    main.write_text(
        "from distio import io\n\n"
        "def price(item):\n"
        "    from shop_of_tests import prices\n"
        "    return prices.of(item)\n\n"
        "main = io.zip_par([io.defer(price, item) for item in range(2)])\n"
    )
    command = [sys.executable, "-m", "distio.cli.main", "run", "--workers", "1", str(main)]
    outcome = subprocess.run(
        [*command, "--ship", str(shop)],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "NO_COLOR": "1"},
    )
    assert (outcome.returncode, outcome.stdout) == (0, "[(0, 'EUR'), (2, 'EUR')]\n"), outcome.stderr
    refused = subprocess.run(
        [*command, "--ship", str(tmp_path / "nowhere")],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert refused.returncode == 64
    assert "there is nothing at" in refused.stderr
