"""Versions of packages that differ between two processes."""

from __future__ import annotations

import sys
from types import ModuleType

import msgspec
import psutil
import pytest

from distio.core.pickling import code_records, versions
from distio.core.pickling.code_records import compare, manifest_of, records_in
from distio.core.pickling.versions import describe_versions, versions_of


def test_versions_of_installed_packages_are_known_without_their_own_word() -> None:
    names = ["psutil._common", "attr._make", "json.decoder", "distio.io", "tests.conftest"]
    found = versions_of(names)
    assert [*found] == ["attr", "psutil"] or [*found] == ["psutil"]  # attrs is called otherwise
    assert found["psutil"] == psutil.__version__


def test_describe_versions_that_are_the_same_says_nothing() -> None:
    assert describe_versions(versions_of(["msgspec"])) == []


def test_describe_versions_names_what_differs_and_what_is_missing() -> None:
    here = msgspec.__version__
    assert describe_versions({"msgspec": "0.0.1", "nowhere_at_all": "1.0"}) == [
        f"msgspec 0.0.1 there, {here} here",
        "nowhere_at_all 1.0 there, missing here",
    ]


def test_compared_code_that_has_changed_names_the_versions_of_its_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shop = ModuleType("shop_of_versions")
    monkeypatch.setitem(sys.modules, shop.__name__, shop)

    def install(version: str, source: str) -> None:
        vars(shop)["__version__"] = version
        exec(compile(source, "shop_of_versions.py", "exec"), vars(shop))
        versions._version.cache_clear()
        code_records._same.clear()

    install("1.0", "def pay(): return 1")
    manifest = manifest_of([shop.pay])
    install("2.0", "def pay(): return 2")
    (difference,) = compare(records_in(manifest.payload)).differences
    assert str(difference) == (
        "shop_of_versions.pay has changed (shop_of_versions 1.0 there, 2.0 here)"
    )
