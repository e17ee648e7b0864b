"""Folders of keys: who may read them, what is in them, and the list of those that may join."""

from __future__ import annotations

import os
import select
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from distio.cli import keys as cli
from distio.errors import ClusterError
from distio.runtime.keys import (
    CoordinatorKeys,
    MemberKeys,
    chosen_keys,
    make_cluster_keys,
    public_key,
)
from distio.runtime.watching import FileWatch
from tests.harness.mounts import Mount


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "keys"
    make_cluster_keys(made)
    return made


def modes(folder: Path) -> set[tuple[bool, int]]:
    """Of each folder and file: whether it is a folder, and its mode."""
    found = [folder, *folder.rglob("*")]
    return {(each.is_dir(), stat.S_IMODE(each.stat().st_mode)) for each in found}


@pytest.mark.parametrize("umask", [0, 0o022, 0o777])
def test_keys_are_for_their_user_alone_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    made = tmp_path / "keys"
    before = os.umask(umask)
    try:
        make_cluster_keys(made)
        assert cli.add("rack-1", cli._Role.WORKER, keys=made) == 0
    finally:
        os.umask(before)
    assert modes(made) == {(True, 0o700), (False, 0o600)}


def test_member_takes_its_folder_or_the_one_for_it_in_the_coordinators(folder: Path) -> None:
    whole, alone = MemberKeys.read(folder, "worker"), MemberKeys.read(folder / "worker", "worker")
    assert whole == alone
    assert MemberKeys.read(folder, "supervisor") == whole
    assert MemberKeys.read(folder, "client").public != whole.public
    assert whole.coordinator == public_key(folder)
    assert whole.secret not in (whole.public, whole.coordinator)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o622])
def test_secret_that_others_can_get_at_is_not_used(folder: Path, mode: int) -> None:
    (folder / "client" / "secret.key").chmod(mode)
    with pytest.raises(ClusterError, match=f"mode {mode:04o}.*; chmod 600 it"):
        MemberKeys.read(folder, "client")


@pytest.mark.parametrize("name", ["allowed", "worker/coordinator.key"])
def test_list_or_key_that_others_can_change_is_not_used(folder: Path, name: str) -> None:
    (folder / name).chmod(0o644)
    assert CoordinatorKeys(folder).allowed["worker"].role == "worker"
    MemberKeys.read(folder, "worker")
    (folder / name).chmod(0o620)
    read = CoordinatorKeys if name == "allowed" else lambda keys: MemberKeys.read(keys, "worker")
    with pytest.raises(ClusterError, match=f"others than you can get at the keys in {folder}"):
        read(folder)


@pytest.mark.parametrize("make", [make_cluster_keys, lambda folder: cli.keygen(folder)])
def test_folder_that_is_there_is_left_alone(
    folder: Path, make: Callable[[Path], int | None], capsys: pytest.CaptureFixture[str]
) -> None:
    before = (folder / "secret.key").read_text()
    try:
        assert make(folder) == 64
        said = capsys.readouterr().err
    except ClusterError as error:
        said = str(error)
    assert f"there is something at {folder} already" in said
    assert (folder / "secret.key").read_text() == before


@pytest.mark.parametrize("damage", ["", "ab" * 31, "not a key"])
def test_file_without_a_key_is_named(folder: Path, damage: str) -> None:
    path = folder / "client" / "coordinator.key"
    path.write_text(damage)
    with pytest.raises(ClusterError, match=f"there is no key in {path}"):
        MemberKeys.read(folder, "client")


def test_folder_without_keys_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=f"can't read the keys in {tmp_path}: secret.key: No "):
        MemberKeys.read(tmp_path, "client")


def test_host_that_has_made_its_own_keys_is_added_by_its_public_key(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    far = tmp_path / "far"
    assert cli.keygen(far, coordinator=public_key(folder).hex()) == 0
    public = capsys.readouterr().out.split()[-1]
    assert cli.add("far", cli._Role.CLIENT, public_key=public, keys=folder) == 0
    assert not (folder / "far").exists()
    assert MemberKeys.read(far, "client").public.hex() == public
    assert CoordinatorKeys(folder).allowed["far"].role == "client"


def test_list_shows_what_add_and_revoke_have_done(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("DISTIO_KEYS", str(folder))
    assert cli.add("rack-1", cli._Role.WORKER) == 0
    assert cli.revoke("worker") == 0
    capsys.readouterr()
    assert cli.list_keys() == 0
    shown = [line.split()[:2] for line in capsys.readouterr().out.splitlines()]
    assert sorted(shown) == [
        ["client", "client"],
        ["observer", "observer"],
        ["rack-1", "worker"],
        ["worker", "revoked"],
    ]


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda keys: cli.revoke("nope", keys=keys), "there is no key 'nope'; the keys are: work"),
        (lambda keys: cli.add("worker", cli._Role.WORKER, keys=keys), "there is a key 'worker' al"),
        (lambda keys: cli.add("../x", cli._Role.WORKER, keys=keys), "can't have the name '../x'"),
        (lambda keys: cli.add("allowed", cli._Role.WORKER, keys=keys), "can't have the name 'allo"),
        (
            lambda keys: cli.add("x", cli._Role.WORKER, public_key="xyz", keys=keys),
            "a public key has 64 hexadecimal digits, but got 'xyz'",
        ),
        (lambda keys: cli.list_keys(keys=keys / "worker"), "allowed: No such file"),
    ],
)
def test_edit_of_the_list_that_cannot_be_made_changes_nothing(
    folder: Path,
    edit: Callable[[Path], int],
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    before = (folder / "allowed").read_text()
    assert edit(folder) == 64
    assert said in capsys.readouterr().err
    assert (folder / "allowed").read_text() == before
    assert {each.name for each in folder.iterdir() if each.is_dir()} == {
        "client",
        "observer",
        "worker",
    }


def test_environment_names_the_keys_unless_others_are_given(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DISTIO_KEYS", "/there")
    assert chosen_keys(None) == Path("/there")
    assert chosen_keys("here") == Path("here")
    monkeypatch.setenv("DISTIO_KEYS", "")
    assert chosen_keys(None) is None


@pytest.mark.parametrize("keys", ["", 5, b"x"], ids=repr)
def test_keys_that_are_no_path_are_refused(keys: str) -> None:
    with pytest.raises(ClusterError, match="keys is a folder that distio keygen has made, but got"):
        chosen_keys(keys)


def is_heard(watch: FileWatch, seconds: float = 10.0) -> bool:
    return bool(select.select([watch.reader], [], [], seconds)[0])


@pytest.fixture
def watch_list(folder: Path) -> Iterator[Callable[[Path], FileWatch]]:
    """Watches the list in a folder until the test ends."""
    with ExitStack() as stack:

        def start(folder: Path) -> FileWatch:
            watch = FileWatch(folder / "allowed")
            stack.callback(watch.close)
            return watch

        yield start


def test_watch_hears_of_a_file_that_is_written_or_replaced(
    folder: Path, watch_list: Callable[[Path], FileWatch]
) -> None:
    watch = watch_list(folder)
    assert not is_heard(watch, 0)
    assert cli.revoke("worker", keys=folder) == 0
    assert is_heard(watch)
    watch.clear()
    assert not is_heard(watch, 0)
    (folder / "allowed").write_text("")
    assert is_heard(watch)
    watch.clear()
    (folder / "allowed").chmod(0o640)
    assert is_heard(watch)


def linked_folder(mount: Mount) -> Path:
    link = mount.folder.with_name("link")
    link.symlink_to(os.path.relpath(mount.folder, link.parent))
    return link


def linked_list(mount: Mount) -> Path:
    folder = mount.folder.with_name("linked")
    folder.mkdir()
    for each in ("secret.key", "allowed"):
        (folder / each).symlink_to(mount.folder / each)
    return folder


@pytest.mark.parametrize(
    "place",
    [lambda mount: mount.folder, lambda mount: mount.folder / "..data", linked_folder, linked_list],
    ids=["mount", "data", "linked folder", "linked list"],
)
def test_watch_hears_each_time_that_a_mounted_secret_is_replaced(
    place: Callable[[Mount], Path],
    folder: Path,
    tmp_path: Path,
    watch_list: Callable[[Path], FileWatch],
) -> None:
    mount = Mount(tmp_path / "mount", folder)
    keys = CoordinatorKeys(place(mount))
    watch = watch_list(keys.folder)
    for name in ("worker", "client", "observer"):
        while is_heard(watch, 0):
            watch.clear()
        assert cli.revoke(name, keys=folder) == 0
        assert not is_heard(watch, 0)
        mount.replace(folder)
        assert is_heard(watch)
        watch.clear()
        keys.read_again()
        assert str(keys.allowed) == (folder / "allowed").read_text()


def test_watch_follows_a_link_that_leads_elsewhere_after_it_has_led_nowhere(
    folder: Path, tmp_path: Path, watch_list: Callable[[Path], FileWatch]
) -> None:
    link, other = tmp_path / "link", tmp_path / "other"
    link.symlink_to(folder)
    make_cluster_keys(other)
    watch = watch_list(link)
    for target in (tmp_path / "nope", other):
        link.unlink()
        link.symlink_to(target)
        while is_heard(watch, 0):
            watch.clear()
    assert cli.revoke("worker", keys=folder) == 0
    assert not is_heard(watch, 0)
    assert cli.revoke("worker", keys=other) == 0
    assert is_heard(watch)


def test_file_in_no_folder_cannot_be_watched(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        FileWatch(tmp_path / "nope" / "allowed")


def test_path_that_leads_round_in_a_circle_cannot_be_watched(tmp_path: Path) -> None:
    (tmp_path / "round").symlink_to(tmp_path / "round")
    with pytest.raises(OSError, match="symbolic links"):
        FileWatch(tmp_path / "round" / "allowed")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has files of root")
@pytest.mark.parametrize(("mode", "is_fit"), [(0o440, True), (0o444, False), (0o460, False)])
def test_mounted_secret_of_root_is_read_by_its_group_alone(
    mode: int, is_fit: bool, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mount = Mount(tmp_path / "mount", folder, mode)
    monkeypatch.setattr(os, "geteuid", lambda: 10001)
    if is_fit:
        assert CoordinatorKeys(mount.folder).allowed.identities()
    else:
        with pytest.raises(ClusterError, match="others than you can get at the keys"):
            CoordinatorKeys(mount.folder)
