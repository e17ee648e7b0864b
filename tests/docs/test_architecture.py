"""The page on the architecture names files, folders, messages and classes that exist, and all."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import get_type_hints

import pytest

from distio.coordination import coordinator, member
from distio.coordination.dispatch import answers, handles

ROOT = Path(__file__).parents[2]
COORDINATION = ROOT / "distio" / "coordination"
BASES = [ROOT, ROOT / "distio", COORDINATION]
PAGE = (ROOT / "docs" / "architecture.md").read_text()
PROSE = re.sub(r"^```text\n.*?^```$", "", PAGE, flags=re.M | re.S)
SECTIONS = dict(re.findall(r"^### (\w+): (.*?)(?=^##|\Z)", PAGE, re.M | re.S))
"""By folder of distio/coordination."""
COMMON = {"state", "feature", "executor", "invariants"}
"""The folders that belong to no conversation."""
FILE = r"[\w.-]+(?:/[\w.-]+)*\.(?:py|toml|md|txt)\b"


def folders() -> set[str]:
    return {path.parent.name for path in COORDINATION.glob("*/__init__.py")}


def named_paths() -> set[str]:
    """The files that the page names anywhere, and the folders in backticks."""
    return {*re.findall(FILE, PAGE), *re.findall(r"`([\w.-]+(?:/[\w.-]+)*/)`", PROSE)}


def handled() -> Iterator[tuple[str, str]]:
    """The folder of each feature, and the name of each message or request that it handles."""
    for features in (coordinator.Features, member.Features):
        for feature in get_type_hints(features).values():
            for method in [*handles.methods_of(feature), *answers.methods_of(feature)]:
                *_, hint = (text for key, text in method.__annotations__.items() if key != "return")
                for kind in hint.split(" | "):
                    yield feature.__module__.split(".")[2], kind.split(".")[-1]


@cache
def words_of_the_code() -> set[str]:
    sources = [*(ROOT / "distio").rglob("*.py"), *(ROOT / "worker").rglob("*.py")]
    return {word for path in sources for word in re.findall(r"\w+", path.read_text())}


def test_architecture_names_only_files_and_folders_that_exist() -> None:
    paths = named_paths()
    assert len(paths) > 100
    missing = {path for path in paths if not any((base / path).exists() for base in BASES)}
    assert missing == set()


def test_architecture_has_a_section_for_each_folder_of_coordination() -> None:
    assert set(SECTIONS) == folders()


def test_architecture_has_the_conversations_in_the_order_of_their_folders() -> None:
    text = re.findall(r"^## The conversations$(.*?)^## ", PAGE, re.M | re.S)[0]
    assert re.findall(r"^### (\w+): ", text, re.M) == sorted(folders() - COMMON)


@pytest.mark.parametrize("folder", sorted(folders()))
def test_architecture_section_names_each_message_and_request_of_its_folder(folder: str) -> None:
    named = set(re.findall(r"`(\w+)`", SECTIONS[folder]))
    assert {kind for at, kind in handled() if at == folder} - named == set()


@pytest.mark.slow
def test_architecture_names_only_identifiers_that_the_code_has() -> None:
    identifiers = re.findall(r"`([A-Za-z_]\w*(?:\.\w+)*)(?:\(.*?\))?`", PROSE)
    names = {each for each in identifiers if not re.fullmatch(FILE, each)}
    unknown = {each for each in names if not set(each.split(".")) <= words_of_the_code()}
    assert unknown == set()


def test_architecture_drawings_are_no_wider_than_100_characters() -> None:
    assert [line for line in PAGE.splitlines() if len(line) > 100] == []


def test_architecture_glossary_has_each_word_once_and_in_order() -> None:
    _, _, *rows = re.findall(r"^\|.*", PAGE.split("## Glossary")[1], re.M)
    words = [row.split("|")[1].strip().lower() for row in rows]
    assert len(words) > 50
    assert words == sorted(set(words))
