"""Rules for the sentences of docstrings and documents, as CONTRIBUTING has them: "Prose"."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
CODE = ["distio", "worker", "tests", "benchmarks", "examples"]
NO_SUBJECT = r"(?:Who|Whom|Whose|Whoever|What|Whatever)\b"
DOCSTRING = re.compile(rf'^ *r?"""({NO_SUBJECT}[^\n]*)', re.MULTILINE)
SENTENCE = re.compile(
    r"^(?:\| |(?:- |\d+\. )?\*?|.*[.:;]\*{0,2} \*?)(Who|Whom|Whose|Whoever)\b[^?\n]*$", re.MULTILINE
)


def where(path: Path, text: str, found: re.Match[str]) -> str:
    """The file and the line of a match, with its words."""
    line = text.count("\n", 0, found.start(1)) + 1
    return f"{path.relative_to(ROOT)}:{line}: {found[0].strip()}"


def found_in(paths: list[Path], rule: re.Pattern[str]) -> list[str]:
    """The places where files break a rule; a question is no statement without a subject."""
    texts = [(path, path.read_text()) for path in sorted(paths)]
    return [
        where(path, text, found)
        for path, text in texts
        for found in rule.finditer(text)
        if "?" not in found[0]
    ]


def test_docstrings_begin_with_no_pronoun_of_questions() -> None:
    paths = [path for folder in CODE for path in (ROOT / folder).rglob("*.py")]
    assert found_in(paths, DOCSTRING) == []


def test_documents_have_no_sentence_whose_subject_is_who() -> None:
    paths = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    assert found_in(paths, SENTENCE) == []
