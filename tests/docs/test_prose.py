"""Rules for the sentences of docstrings and documents, as CONTRIBUTING has them: "Prose"."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CODE = ["distio", "worker", "tests", "benchmarks", "examples"]
SOURCES = [path for folder in CODE for path in (ROOT / folder).rglob("*.py")]
DOCUMENTS = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
DOCSTRING = re.compile(r'^ *r?"""(Who|Whom|Whose|Whoever|What|Whatever)\b')
SENTENCE = re.compile(
    r"(^ *(# |- |\| |\d+\. )?\*?|[.:;]\*{0,2} \*?)(Who|Whom|Whose|Whoever)\b|# (who|whom|whoever)\b"
)


def found_in(paths: list[Path], rule: re.Pattern[str]) -> list[str]:
    """The lines that break a rule, with their places; a question breaks none."""
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in sorted(paths)
        for number, line in enumerate(path.read_text().split("\n"), 1)
        if ("Wh" in line or "# wh" in line) and "?" not in line and rule.search(line)
    ]


@pytest.mark.slow
def test_docstrings_begin_with_no_pronoun_of_questions() -> None:
    assert found_in(SOURCES, DOCSTRING) == []


@pytest.mark.slow
def test_sentences_of_code_and_documents_have_no_who_as_their_subject() -> None:
    assert found_in([*SOURCES, *DOCUMENTS], SENTENCE) == []
