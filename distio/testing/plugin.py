"""What pytest gains where distio is installed: a fixture, a marker and an option."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Final

import pytest

if TYPE_CHECKING:
    from distio.testing.exploration import Exploration

_SEEDS: Final = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--seeds N`."""
    parser.getgroup("distio").addoption(
        "--seeds",
        type=_at_least_one,
        metavar="N",
        help="how many seeds cluster_simulation tries in each test, whatever the test says",
    )


def _at_least_one(text: str) -> int:
    number = int(text)
    if number < 1:
        raise ValueError("there has to be a seed")  # pytest says which option it was
    return number


def pytest_configure(config: pytest.Config) -> None:
    """`@pytest.mark.seeds(n)`."""
    config.addinivalue_line(
        "markers", f"seeds(n): how many seeds cluster_simulation tries (by default {_SEEDS})"
    )


@pytest.fixture
def cluster_simulation(request: pytest.FixtureRequest) -> Callable[..., Exploration]:
    """`cluster_simulation(main, context, check, ...)`: `explore`, with the test's seeds.

    How many they are is said by the option `--seeds N`, else by the marker `seeds(n)`.
    """
    from distio.testing.exploration import explore

    marker = request.node.get_closest_marker("seeds")
    count = request.config.getoption("--seeds") or (marker.args[0] if marker else _SEEDS)
    return partial(explore, seeds=range(count))
