"""The packages that users get: the sdist, the wheel, their metadata, and how to cite them.

`make wheel-test` installs the wheel and tries it; here its content is compared with the repository.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
from email import message_from_bytes
from email.message import Message
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

is_checkout = pytest.mark.skipif(
    not (ROOT / ".git").exists(), reason="not a checkout of the repository"
)


@cache
def built() -> tuple[set[str], set[str], Message]:
    """The names in the sdist, those in the wheel, and the metadata of the wheel."""
    with TemporaryDirectory() as directory:
        build = [sys.executable, "-m", "hatchling", "build", "--directory", directory]
        subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
        [sdist], [wheel] = (list(Path(directory).glob(each)) for each in ("*.tar.gz", "*.whl"))
        with tarfile.open(sdist) as tar, ZipFile(wheel) as zip:
            names = {name.partition("/")[2] for name in tar.getnames()}
            [metadata] = [name for name in zip.namelist() if name.endswith("/METADATA")]
            return names, set(zip.namelist()), message_from_bytes(zip.read(metadata))


def files(*folders: str) -> set[str]:
    """The files of the repository, in these folders if any is named."""
    list_files = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", *folders]
    listed = subprocess.run(list_files, cwd=ROOT, check=True, capture_output=True).stdout
    names = {name.decode() for name in listed.split(b"\0") if name}
    return {name for name in names if (ROOT / name).exists()}


@is_checkout
@pytest.mark.slow
def test_sdist_has_each_file_of_the_repository() -> None:
    sdist, _, _ = built()
    assert sdist == files() | {"PKG-INFO"}


@is_checkout
@pytest.mark.slow
def test_wheel_has_the_library_and_the_daemon_and_nothing_else() -> None:
    _, wheel, _ = built()
    code = {name for name in wheel if ".dist-info/" not in name}
    daemon = {name.removeprefix("worker/") for name in files("worker/distio_worker")}
    assert code == files("distio") | daemon
    assert {"distio/py.typed", "distio_worker/py.typed"} <= code


@pytest.mark.slow
def test_long_description_is_readme_and_has_no_link_into_the_repository() -> None:
    _, _, metadata = built()
    description = metadata.get_payload()
    assert isinstance(description, str)
    links = re.findall(r"\]\(([^)]+)\)", description)
    assert links
    assert [link for link in links if not link.startswith("https://")] == []
    assert "threads:" not in description
    words_of_readme = re.sub(r"\W+", " ", (ROOT / "README.md").read_text()).split()
    assert re.sub(r"\W+", " ", description).split()[:50] == words_of_readme[:50]


def test_citation_has_what_its_format_requires_and_agrees_with_the_project() -> None:
    text = (ROOT / "CITATION.cff").read_text()
    top = dict(re.findall(r"^([a-z-]+):[ ]?(.*)", text, re.M))
    assert {"cff-version", "message", "title", "authors"} <= top.keys()
    assert top["cff-version"] == "1.2.0"
    assert top["type"] == "software"
    assert (top["version"], top["license"]) == (PROJECT["version"], PROJECT["license"])
    [author] = PROJECT["authors"]
    assert f'- name: "{author["name"]}"' in text
