"""The code in the documents runs, and prints their output: on threads, and on a cluster.

A block that makes sense on threads alone stands below a comment with the reason:
`<!-- threads: its fibers share a list -->`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import PATIENCE, shared_cluster
from tests.harness.script_server import run_script

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(
    r"^(<!-- threads: [^\n]+ -->\n)?```python\n(.*?)^```\n(?:\n```text\n(.*?)^```\n)?",
    re.M | re.S,
)


@dataclass(frozen=True)
class Block:
    """A block of code in a document."""

    place: str
    is_for_threads: bool
    code: str
    printed: str


def blocks() -> list[Block]:
    found = []
    for path in DOCUMENTS:
        text = path.read_text()
        for match in BLOCK.finditer(text):
            line = text.count("\n", 0, match.start(2))
            place = f"{path.name}:{line}"
            found.append(Block(place, match[1] is not None, match[2], match[3] or ""))
    return found


def pattern_of(line: str) -> str:
    """`...` stands for any lines if it is one, else for any part of its line."""
    return r"(?:.*\n)*" if line == "...\n" else ".*".join(map(re.escape, line.split("...")))


def run_block(block: Block, directory: Path, *arguments: str) -> str:
    """Run a block by `python *arguments`; return its standard error, having seen its output."""
    (directory / "block.py").write_text(block.code)
    done = run_script([*arguments, "block.py"], directory, PATIENCE)
    assert done.returncode == 0, done.stderr
    pattern = "".join(map(pattern_of, block.printed.splitlines(keepends=True)))
    assert re.fullmatch(pattern, done.stdout), done.stdout + done.stderr
    return done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("block", blocks(), ids=lambda block: block.place)
def test_code_block_prints_what_the_document_says(block: Block, tmp_path: Path) -> None:
    run_block(block, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "block",
    [block for block in blocks() if not block.is_for_threads],
    ids=lambda block: block.place,
)
def test_code_block_prints_the_same_on_a_cluster_and_all_its_fibers_travel(
    block: Block, tmp_path: Path
) -> None:
    processes = shared_cluster()._processes
    assert processes is not None
    driver = Path(__file__).parents[1] / "harness" / "on_cluster.py"
    assert (
        run_block(block, tmp_path, str(driver), processes.url) == ""
    )  # fibers that stay are warned of


def test_document_comments_say_why_a_block_is_for_threads() -> None:
    comments = sum(path.read_text().count("<!--") for path in DOCUMENTS)
    assert comments == sum(block.is_for_threads for block in blocks())


def test_readme_commands_are_targets_of_the_makefile() -> None:
    commands = re.findall(r"^make ([a-z-]+)", (ROOT / "README.md").read_text(), re.M)
    assert commands == ["demo", "check", "test", "docs"]
    makefile = (ROOT / "Makefile").read_text()
    assert all(re.search(rf"^{command}:", makefile, re.M) for command in commands)


def test_readme_map_of_the_code_names_files_that_exist() -> None:
    text = (ROOT / "README.md").read_text().split("## A map of the code")[1]
    for line in text.split("```text\n")[1].split("```")[0].splitlines():
        for name in line.split("  ")[0].split(", "):
            path = name if "/" in name else f"distio/{name}"
            assert (ROOT / path).exists(), name


def test_document_lines_are_no_longer_than_100_characters_except_of_output() -> None:
    for path in DOCUMENTS:
        written = re.sub(r"^```text\n.*?^```$", "", path.read_text(), flags=re.M | re.S)
        assert [line for line in written.splitlines() if len(line) > 100] == [], path.name


@pytest.mark.slow
def test_document_links_lead_to_files_and_headings_that_exist() -> None:
    for path in DOCUMENTS:
        for link in re.findall(r"\]\((?!https?:)([^)]+)\)", path.read_text()):
            file, _, heading = link.partition("#")
            target = path.parent / file if file else path
            assert target.exists(), f"{path.name}: {link}"
            headings = re.findall(r"^#+ (.*)", target.read_text(), re.M)
            anchors = [re.sub(r"[^\w -]", "", each).replace(" ", "-").lower() for each in headings]
            assert not heading or heading in anchors, f"{path.name}: {link}"


def test_readme_leads_to_each_chapter_of_the_guide() -> None:
    end = (ROOT / "README.md").read_text().split("The guide, in the order")[1]
    for chapter in (ROOT / "docs" / "guide").glob("*.md"):
        assert f"(docs/guide/{chapter.name})" in end
