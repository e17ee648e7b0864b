"""The plugin for pytest that comes with distio: a fixture, a marker and an option."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final

import pytest

if TYPE_CHECKING:
    from distio.testing.exploration import Exploration

_SEEDS: Final = 20
_PLACE_OF_SEEDS: Final = 3
"""Among the arguments of `explore`."""


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
def cluster_simulation(request: pytest.FixtureRequest) -> Iterator[Callable[..., Exploration]]:
    """`cluster_simulation(main, context, check, ...)`: `explore`, with the test's seeds.

    How many they are is said by the option `--seeds N`, else by the marker `seeds(n)`. Seeds that
    have failed come first the next time, until they pass.
    """
    from distio.testing.cases import CheckFailed
    from distio.testing.exploration import explore
    from distio.testing.failed_seeds import FailedSeeds

    marker = request.node.get_closest_marker("seeds")
    count = request.config.getoption("--seeds") or (marker.args[0] if marker else _SEEDS)
    known = FailedSeeds.of(request.config, request.node.nodeid)

    def explore_seeds(*args: Any, **options: Any) -> Exploration:
        __tracebackhide__ = True  # pytest then shows the check, not this function
        if "seeds" in options or len(args) > _PLACE_OF_SEEDS:
            return explore(*args, **options)
        options["seeds"] = known.before(range(count))
        try:
            exploration = explore(*args, **options)
        except CheckFailed as failed:
            known.failed(failed.seed)
            raise
        known.passed()
        return exploration

    yield explore_seeds
    known.close()
