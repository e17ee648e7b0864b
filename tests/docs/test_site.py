"""The documentation site: each page has its place, each public name its entry, and it builds."""

from __future__ import annotations

import os
import re
import subprocess
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import pytest

import distio

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
NAV = re.findall(r"([\w./-]+\.md)$", (ROOT / "mkdocs.yml").read_text().split("\nnav:")[1], re.M)
ENTRIES = {
    entry
    for page in DOCS.glob("reference/*.md")
    for entry in re.findall(r"^::: (\S+)$", page.read_text(), re.M)
}
MKDOCS = ROOT / ".venvs" / "docs" / "installed"


def test_nav_of_the_site_has_each_page_once() -> None:
    """A new page gets its line in mkdocs.yml."""
    pages = [path.relative_to(DOCS).as_posix() for path in DOCS.glob("**/*.md")]
    from_outside = {"index.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md"}
    from_outside.add("benchmarks/report.md")
    kits = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("deploy/*/README.md")]
    assert sorted(NAV) == sorted([*pages, *from_outside, *kits])


def test_reference_has_an_entry_for_each_public_name() -> None:
    """A new name of `distio` gets an entry, or belongs to a module that has one."""
    described = set(ENTRIES)
    for entry in ENTRIES:
        if find_spec(entry):  # a module
            described |= {f"distio.{name}" for name in import_module(entry).__all__}
    assert [name for name in distio.__all__ if f"distio.{name}" not in described] == []


@pytest.mark.slow
@pytest.mark.skipif(not MKDOCS.exists(), reason="`make docs` makes the environment that it needs")
def test_site_builds_strictly_and_takes_nothing_from_other_hosts(tmp_path: Path) -> None:
    build = [str(MKDOCS.parent / "bin" / "python"), "-m", "mkdocs", "build", "--strict"]
    done = subprocess.run(
        [*build, "--site-dir", str(tmp_path / "site")],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    pages = {path: path.read_text() for path in (tmp_path / "site").rglob("*.html")}
    assert len(pages) == len(NAV) + 1  # and one for what isn't found
    taken = re.compile(r"<(?:script|img|iframe|link)\b[^>]*(?:src|href)=\"?(?:https?:)?//[^>]*>")
    assert {
        path.name: found for path, text in pages.items() if (found := taken.findall(text))
    } == {}
    assert [path.name for path, text in pages.items() if "<!-- threads:" in text] == []
    report = pages[tmp_path / "site/benchmarks/report.html"]
    pictures = re.findall(r'<img[^>]* src="(report/[\w-]+\.svg)"', report)
    assert pictures
    assert all((tmp_path / "site/benchmarks" / each).exists() for each in pictures)
    assert ">>> " not in re.sub(r"<pre>.*?</pre>", "", pages[tmp_path / "site/reference/io.html"])
