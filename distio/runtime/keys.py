"""Keys on the disk: the folders of a coordinator and of its members.

A coordinator's folder has its key pair (`secret.key`, `public.key`) and the allow-list (`allowed`).
A member's folder has its own pair, and the public key of its coordinator (`coordinator.key`): it is
all that a host needs. The coordinator's folder may have the folders of members in it, each under
the name of its key, to be handed out from there. Nobody but their owner can read any of it.
"""

from __future__ import annotations

import fcntl
import os
import re
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

from distio.coordination.membership.keys import AllowedKey, AllowList, KeyRole, is_key_name
from distio.errors import ClusterError
from distio.protocol.domains import MemberKind
from distio.runtime.forks import without_forks

__all__ = [
    "KEYS_VARIABLE",
    "CoordinatorKeys",
    "MemberKeys",
    "chosen_keys",
    "edit_allowed",
    "files_of",
    "make_cluster_keys",
    "make_member_keys",
    "public_key",
    "read_allowed",
    "require_key_name",
    "write_files",
]

KEYS_VARIABLE: Final = "DISTIO_KEYS"
"""The environment variable that names a folder of keys, unless another one is given."""

_SECRET: Final = "secret.key"
_PUBLIC: Final = "public.key"
_COORDINATOR: Final = "coordinator.key"
_ALLOWED: Final = "allowed"
"""The file of the allow-list, in the coordinator's folder."""
_ROLES: Final[tuple[KeyRole, ...]] = ("worker", "client", "observer")
"""The roles for which a small cluster gets a key each, of that name."""
_FOLDERS: Final[Mapping[MemberKind, str]] = {
    "client": "client",
    "observer": "observer",
    "supervisor": "worker",
    "worker": "worker",
}
_KEY: Final = re.compile(r"[0-9a-f]{64}\s*")


class MemberKeys(NamedTuple):
    """The keys with which a process joins a cluster."""

    folder: Path
    secret: bytes
    public: bytes
    coordinator: bytes
    """The public key of the coordinator."""

    @classmethod
    def read(cls, folder: Path, kind: MemberKind) -> MemberKeys:
        """The keys in a member's folder, or in the one for this kind in a coordinator's.

        Raises:
            ClusterError: there are none, or others can read the secret one.
        """
        if (folder / _ALLOWED).exists():
            folder = folder / _FOLDERS[kind]
        secret = _read_secret(folder)
        _require_private(folder / _COORDINATOR, 0o022)
        return cls(folder, secret, _public_of(secret), _read_key(folder / _COORDINATOR))


class CoordinatorKeys:
    """The keys of a coordinator, and the list of those that may join.

    Raises:
        ClusterError: there are none, others can read the secret one, or the list is wrong.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.list_file = folder / _ALLOWED
        """The file that says which keys may join."""
        self.secret = _read_secret(folder)
        self.allowed = read_allowed(folder)

    def read_again(self) -> None:
        """Take up the list as it is by now.

        Raises:
            ClusterError: it is wrong; the list stays as it was.
        """
        self.allowed = read_allowed(self.folder)


def chosen_keys(given: str | PathLike[str] | None) -> Path | None:
    """The folder of keys that a process was given, or that its environment names; None: none.

    Raises:
        ClusterError: what was given is no path.
    """
    if given is None:
        given = os.environ.get(KEYS_VARIABLE) or None
    if given is None:
        return None
    where: Any = given
    if not isinstance(where, str | PathLike) or not os.fspath(where):
        raise ClusterError(f"keys is a folder that distio keygen has made, but got {where!r}")
    return Path(where)


# -- reading ----------------------------------------------------------------------------------


def _curve() -> tuple[ModuleType, ModuleType]:
    """ZeroMQ, with CURVE, and its encoding of keys; imported here, as in `Lines`."""
    with without_forks():
        import zmq
        from zmq.utils import z85
    if not zmq.has("curve"):
        raise ClusterError("this pyzmq was built without CURVE, so it has no keys; install a wheel")
    return zmq, z85


def _read_secret(folder: Path) -> bytes:
    _curve()
    path = folder / _SECRET
    _require_private(path, 0o077)
    return _read_key(path)


def _require_private(path: Path, forbidden: int) -> None:
    """Refuse a file that others may read, or write to, as these bits of its mode say."""
    try:
        found = path.stat()
    except OSError:
        return  # to read it fails as well, with a reason
    # a secret that the system mounts is root's, and its reader has it by the group
    may_have_group = found.st_uid == 0 != os.geteuid()
    if found.st_mode & (forbidden & 0o737 if may_have_group else forbidden):
        raise ClusterError(
            f"others than you can get at the keys in {path} "
            f"(mode {stat.S_IMODE(found.st_mode):04o}); chmod 600 it, or make other keys"
        )


def _read_key(path: Path) -> bytes:
    text = _read(path)
    if _KEY.fullmatch(text) is None:
        raise ClusterError(
            f"there is no key in {path}, which has to be 64 hexadecimal digits; "
            f"make it anew with `distio keygen` or `distio keys add`"
        )
    return bytes.fromhex(text.strip())


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it isn't text"
        raise ClusterError(
            f"can't read the keys in {path.parent}: {path.name}: {reason}; `distio keygen DIR` "
            f"makes those of a coordinator, `distio keys add` those of a worker or client"
        ) from error


def read_allowed(folder: Path) -> AllowList:
    """The allow-list in a coordinator's folder.

    Raises:
        ClusterError: there is none, or it is wrong.
    """
    path = folder / _ALLOWED
    _require_private(path, 0o022)
    try:
        return AllowList.parse(_read(path))
    except ValueError as error:
        raise ClusterError(f"the list of keys in {path} is wrong: {error}; mend it") from error


def files_of(folder: Path) -> dict[str, bytes]:
    """The files in a member's folder, by their names, for a host that is to have them.

    Raises:
        ClusterError: it can't be read.
    """
    with _system_errors(folder):
        return {name: (folder / name).read_bytes() for name in (_SECRET, _PUBLIC, _COORDINATOR)}


def write_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make a member's folder of what `files_of` has read elsewhere.

    Raises:
        ClusterError: the folder is there already, or can't be made.
    """
    with _system_errors(folder):
        _make_private(folder)
        for name, content in files.items():
            _write(folder / name, content.decode())


# -- making -----------------------------------------------------------------------------------


def make_cluster_keys(folder: Path) -> None:
    """Make the folder of a coordinator, and in it one for workers, clients and observers each.

    Raises:
        ClusterError: the folder is there already, or can't be made.
    """
    with _system_errors(folder):
        _make_private(folder)
        secret = _new_secret()
        _write_pair(folder, secret)
        allowed = AllowList()
        for role in _ROLES:
            public = make_member_keys(folder / role, _public_of(secret))
            allowed = allowed.with_key(AllowedKey(role, role, public.hex()))
        _write(folder / _ALLOWED, str(allowed))


def make_member_keys(folder: Path, coordinator: bytes) -> bytes:
    """Make the folder of a member, for the cluster whose coordinator has this public key.

    Returns:
        Its public key.

    Raises:
        ClusterError: the folder is there already, or can't be made.
    """
    with _system_errors(folder):
        _make_private(folder)
        secret = _new_secret()
        _write_pair(folder, secret)
        _write(folder / _COORDINATOR, f"{coordinator.hex()}\n")
        return _public_of(secret)


def edit_allowed(folder: Path, edit: Callable[[AllowList], AllowList]) -> None:
    """Change the allow-list in a coordinator's folder, at once, and with no other edit in between.

    Raises:
        ClusterError: it can't be changed so, and why.
    """
    with _system_errors(folder):
        directory = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            try:
                edited = edit(read_allowed(folder))
            except ValueError as error:
                raise ClusterError(f"can't change the keys in {folder}: {error}") from error
            new = folder / f".{_ALLOWED}.new"
            new.unlink(missing_ok=True)
            _write(new, str(edited))
            new.replace(folder / _ALLOWED)
            os.fsync(directory)
        finally:
            os.close(directory)


def public_key(folder: Path) -> bytes:
    """The public key of a coordinator, or of a member.

    Raises:
        ClusterError: there is none in the folder.
    """
    return _public_of(_read_secret(folder))


def require_key_name(name: str) -> str:
    """Return a name if a key can have it, which may be that of a folder among the files.

    Raises:
        ClusterError: it can't.
    """
    if not is_key_name(name) or name in (_ALLOWED, _SECRET, _PUBLIC, _COORDINATOR):
        raise ClusterError(
            f"a key can't have the name {name!r}; choose one of letters, digits, '.', '_' and '-'"
        )
    return name


def _new_secret() -> bytes:
    zmq, z85 = _curve()
    return bytes(z85.decode(zmq.curve_keypair()[1]))


def _public_of(secret: bytes) -> bytes:
    zmq, z85 = _curve()
    return bytes(z85.decode(zmq.curve_public(z85.encode(secret))))


def _make_private(folder: Path) -> None:
    """Make a folder (0700); one that is there has to be empty."""
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        if folder.is_symlink() or not folder.is_dir() or any(folder.iterdir()):
            raise ClusterError(
                f"there is something at {folder} already, which is left as it is; choose another "
                f"folder, or remove it"
            ) from None
    folder.chmod(0o700)  # whatever the umask


def _write_pair(folder: Path, secret: bytes) -> None:
    _write(folder / _SECRET, f"{secret.hex()}\n")
    _write(folder / _PUBLIC, f"{_public_of(secret).hex()}\n")


def _write(path: Path, text: str) -> None:
    """Write a new file (0600), which nobody else can read at any moment."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with open(os.open(path, flags, 0o600), "w", encoding="ascii") as file:
        os.fchmod(file.fileno(), 0o600)  # whatever the umask
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _system_errors(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        what = f"can't write the keys in {folder}: {error.strerror or error}"
        raise ClusterError(f"{what}; choose a folder that is yours") from error
