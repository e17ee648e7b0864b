"""Code that is sent whole: packing, and unpacking in another process."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from distio.core.pickling.archives import Archive, digest_of_archive
from distio.errors import MatchError, NotImportable
from distio.runtime import archives
from distio.runtime.archives import pack
from distio.runtime.unpacking import Unpacked


@pytest.fixture
def clean_imports(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """Undoes what is imported, and is the directory where temporary files are."""
    directory = tmp_path / "temporary"
    directory.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(directory))
    before = {*sys.modules}
    monkeypatch.setattr(sys, "path", [*sys.path])
    yield directory
    for name in {*sys.modules} - before:
        del sys.modules[name]


def package(directory: Path, name: str, value: int) -> Path:
    place = directory / name
    (place / "__pycache__").mkdir(parents=True, exist_ok=True)
    (place / ".git").mkdir(exist_ok=True)
    (place / "__init__.py").write_text(f"VALUE = {value}\n")
    (place / "table.txt").write_text("data")
    (place / "__pycache__" / "old.pyc").write_bytes(b"")
    (place / ".git" / "config").write_bytes(b"")
    return place


def use(unpacked: Unpacked, archive: Archive) -> None:
    digest = digest_of_archive(archive.data)
    unpacked.use([digest], {digest: archive.data})


# -- packing ----------------------------------------------------------------------------------


def test_pack_twice_makes_the_same_bytes(tmp_path: Path) -> None:
    place = package(tmp_path, "shop_a", 1)
    first = pack(place)
    os.utime(place / "__init__.py", (1, 1))
    assert pack(place) == first


def test_pack_something_else_is_refused(tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("hello")
    (tmp_path / "empty").mkdir()
    with pytest.raises(MatchError, match=r"there is nothing at .*nowhere"):
        pack(tmp_path / "nowhere")
    with pytest.raises(MatchError, match=r"there is a file that is none of these at .*note\.txt"):
        pack(note)
    with pytest.raises(MatchError, match=r"there is nothing to send in .*empty"):
        pack(tmp_path / "empty")


def test_pack_too_much_names_the_largest_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MOST_BYTES", 100)
    place = package(tmp_path, "shop_b", 1)
    (place / "weights.bin").write_bytes(bytes(101))
    with pytest.raises(MatchError, match=r"the largest files: .*weights\.bin \(0\.0 MiB\)"):
        pack(place)


def test_pack_a_link_that_leads_back_ends(tmp_path: Path) -> None:
    place = package(tmp_path, "shop_c", 1)
    (place / "again").symlink_to(place)
    assert pack(place).zipped


# -- unpacking --------------------------------------------------------------------------------


def test_unpacked_package_has_its_files_but_no_caches(tmp_path: Path, clean_imports: Path) -> None:
    use(Unpacked(), pack(package(tmp_path, "shop_d", 7)))
    shop = importlib.import_module("shop_d")
    place = Path(str(shop.__file__)).parent
    assert shop.VALUE == 7
    assert {each.name for each in place.iterdir()} - {"__pycache__"} == {"__init__.py", "table.txt"}
    assert place.is_relative_to(clean_imports)


def test_unpacked_newer_version_takes_the_place_of_the_older(
    tmp_path: Path, clean_imports: Path
) -> None:
    unpacked = Unpacked()
    use(unpacked, pack(package(tmp_path, "shop_e", 1)))
    assert importlib.import_module("shop_e").VALUE == 1
    use(unpacked, pack(package(tmp_path, "shop_e", 2)))
    assert importlib.import_module("shop_e").VALUE == 2


def test_unpacked_name_that_is_imported_already_is_warned_of(
    tmp_path: Path, clean_imports: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "colorsys.py"
    place.write_text("")
    importlib.import_module("colorsys")
    use(Unpacked(), pack(place))
    assert "has imported 'colorsys' before, from " in caplog.text


def test_unpacked_without_room_says_what_and_where(
    tmp_path: Path, clean_imports: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    archive = pack(package(tmp_path, "shop_f", 1))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(NotImportable, match=r"can't unpack the code that was sent from .*shop_f"):
        use(Unpacked(), archive)


@pytest.mark.slow
def test_unpacked_directory_of_a_killed_process_is_removed_by_the_next(
    tmp_path: Path, clean_imports: Path
) -> None:
    place = package(tmp_path, "shop_g", 1)
    script = (
        "import os, signal, sys\n"
        "from distio.core.pickling.archives import digest_of_archive\n"
        "from distio.runtime.archives import pack\n"
        "from distio.runtime.unpacking import Unpacked\n"
        "archive = pack(sys.argv[1])\n"
        "digest = digest_of_archive(archive.data)\n"
        "Unpacked().use([digest], {digest: archive.data})\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "TMPDIR": str(clean_imports)}
    subprocess.run([sys.executable, "-c", script, str(place)], env=environment, check=False)
    (left,) = clean_imports.iterdir()
    unpacked = Unpacked()
    use(unpacked, pack(place))
    (now,) = clean_imports.iterdir()
    assert now != left
    unpacked.remove()
    assert not [*clean_imports.iterdir()]
