"""Takes pages from outside of `docs` into the site: README as its first one, the kits, the report
of the benchmarks with its pictures, and others.

Links are written as they work in the repository. Here each becomes one between pages of the site:
a page of `docs` lies at the root of the site, README is its index, and other files keep their path.
A link to a file that is no page, such as a configuration, becomes plain text.
"""

from __future__ import annotations

import os.path
import re
from pathlib import Path
from typing import Any, Final

from griffe import Extension, Object
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]
HOME: Final = "index.md"
OUTSIDE: Final = [
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "benchmarks/report.md",
]
KITS: Final = "deploy/*/README.md"
PICTURES: Final = "benchmarks/report/*.svg"

FENCE: Final = re.compile(r"^```.*?^```$", re.M | re.S)
LINK: Final = re.compile(r"\[([^\]]+)\]\((?!https?:|#)([^)\s]+)\)")
NAMED_LINK: Final = re.compile(r"^(\[[^\]]+\]: )(?!https?:|#)(\S+)", re.M)
FOR_TESTS: Final = re.compile(r"^<!-- threads: [^\n]+ -->\n", re.M)
DOCTEST: Final = re.compile(r"^>>> .*?(?=\n\n|\Z)", re.M | re.S)
MODULES: Final = "io|resource|result|schedule|recurring|errors"
NAME: Final = re.compile(rf"(?<!`)`((?:{MODULES})\.[a-z]\w*)`(?!`)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages and the pictures from outside."""
    found = [path for pattern in (KITS, PICTURES) for path in sorted(ROOT.glob(pattern))]
    for path in [*(ROOT / name for name in OUTSIDE), *found]:
        name = path.relative_to(ROOT).as_posix()
        files.append(File.generated(config, in_site(name), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Adapt the links outside of blocks of code, and leave out what is meant for the tests."""
    source = Path(str(page.file.abs_src_path)).relative_to(ROOT).as_posix()
    text = FOR_TESTS.sub("", markdown)
    pieces, begin = [], 0
    for fence in FENCE.finditer(text):
        pieces += [with_links_of_site(text[begin : fence.start()], source), fence[0]]
        begin = fence.end()
    return "".join([*pieces, with_links_of_site(text[begin:], source)])


def with_links_of_site(text: str, source: str) -> str:
    """The text, which the file `source` of the repository has."""

    def adapted(link: re.Match[str]) -> str:
        target = link_in_site(link[2], source)
        return link[1] if target is None else f"[{link[1]}]({target})"

    text = LINK.sub(adapted, text)
    return NAMED_LINK.sub(lambda link: f"{link[1]}{link_in_site(link[2], source)}", text)


def link_in_site(link: str, source: str) -> str | None:
    """None, if the link leads to a file that is no page."""
    path, hash, heading = link.partition("#")
    target = os.path.normpath(os.path.join(os.path.dirname(source), path))
    if not path.endswith((".md", ".svg")) and (ROOT / target).is_file():
        return None
    return os.path.relpath(in_site(target), os.path.dirname(in_site(source))) + hash + heading


def in_site(path: str) -> str:
    """Where a file of the repository is in the site."""
    return HOME if path == "README.md" else path.removeprefix("docs/")


class Docstrings(Extension):
    """Sets examples as code, for to Markdown three angles are a quotation, and links names."""

    def on_object(self, *, obj: Object, **_: Any) -> None:
        if obj.docstring is not None:
            text = NAME.sub(r"[`\1`][distio.\1]", obj.docstring.value)
            obj.docstring.value = DOCTEST.sub(r"```pycon\n\g<0>\n```", text)
