"""`distio keygen` and `distio keys`: the keys of a cluster, and the list of those that may join."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from distio.cli import report
from distio.cli.options import Keys
from distio.errors import ClusterError

__all__ = ["keygen", "keys_app"]

keys_app = typer.Typer(
    no_args_is_help=True,
    help="The keys that may join a cluster. A coordinator that runs takes up a change at once.",
)


class _Role(StrEnum):
    CLIENT = "client"
    OBSERVER = "observer"
    WORKER = "worker"


_Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the key.")]
_PublicKey = Annotated[
    str | None,
    typer.Option(
        metavar="KEY",
        show_default=False,
        help="The public key of a host that has made its own; by default a new pair is made.",
    ),
]


def keygen(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The folder to make; it may be there, and empty.")
    ],
    coordinator: Annotated[
        str | None,
        typer.Option(
            metavar="KEY",
            show_default=False,
            help="Make the keys of one member of the cluster whose coordinator has this public "
            "key, on the host of that member; they are to be added where the coordinator is.",
        ),
    ] = None,
) -> int:
    """Make the keys of a cluster: of its coordinator, a worker, a client and an observer.

    DIR is the coordinator's, and has a folder for each of the others: copy
    DIR/worker to the hosts of workers, DIR/client to those of programs. On
    one machine all of them may take DIR itself.
    """
    from distio.runtime.keys import make_cluster_keys, make_member_keys

    try:
        if coordinator is None:
            make_cluster_keys(folder)
            report.say(
                f"The keys of a coordinator are in {folder}. Copy {folder / 'worker'} to the hosts "
                f"of workers, {folder / 'client'} to those of programs, {folder / 'observer'} to "
                f"those who only look."
            )
            return report.OK
        public = make_member_keys(folder, bytes.fromhex(_checked(coordinator))).hex()
    except ClusterError as error:
        report.complain(error)
        return report.USAGE
    report.say(
        f"The keys are in {folder}. Where the coordinator is: distio keys add NAME --role ROLE "
        f"--public-key {public}"
    )
    return report.OK


@keys_app.command(epilog="Exits with 0, or with 64 if the key can't be added.")
def add(
    name: _Name,
    role: Annotated[
        _Role,
        typer.Option(
            help="A worker hosts fibers; a client runs programs; an observer looks.",
        ),
    ],
    public_key: _PublicKey = None,
    keys: Keys = None,
    to: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            show_default=False,
            help="The folder to make for a new pair; by default one of that name in --keys.",
        ),
    ] = None,
) -> int:
    """Let one more key join, which is made now unless its public half is given."""
    from distio.coordination.membership.keys import AllowedKey, AllowList
    from distio.runtime.keys import edit_allowed, make_member_keys, require_key_name
    from distio.runtime.keys import public_key as own_public_key

    try:
        folder = _coordinators(keys)
        require_key_name(name)
        made = folder / name if to is None else to

        def edit(allowed: AllowList) -> AllowList:
            allowed.require_free(name)
            if public_key is None:
                public = make_member_keys(made, own_public_key(folder)).hex()
            else:
                public = _checked(public_key)
            return allowed.with_key(AllowedKey(name, role.value, public))

        edit_allowed(folder, edit)
    except ClusterError as error:
        report.complain(error)
        return report.USAGE
    where = f"; its keys are in {made}, to be copied to its host" if public_key is None else ""
    report.say(f"The key {name!r} may join as a {role.value}{where}")
    return report.OK


@keys_app.command("list", epilog="Exits with 0, or with 64 if there is no such list.")
def list_keys(keys: Keys = None) -> int:
    """List the keys that may join, and those that were revoked."""
    from distio.runtime.keys import read_allowed

    try:
        for key in read_allowed(_coordinators(keys)):
            report.say(str(key))
    except ClusterError as error:
        report.complain(error)
        return report.USAGE
    return report.OK


@keys_app.command(epilog="Exits with 0, or with 64 if there is no such key.")
def revoke(name: _Name, keys: Keys = None) -> int:
    """Keep a key out: its connections are cut, and its fibers go on elsewhere."""
    from distio.coordination.membership.keys import AllowList
    from distio.runtime.keys import edit_allowed

    def edit(allowed: AllowList) -> AllowList:
        if name not in allowed:
            names = ", ".join(key.name for key in allowed) or "none"
            raise ValueError(f"there is no key {name!r}; the keys are: {names}")
        return allowed.with_revoked(name)

    try:
        edit_allowed(_coordinators(keys), edit)
    except ClusterError as error:
        report.complain(error)
        return report.USAGE
    report.say(f"The key {name!r} is revoked")
    return report.OK


def _coordinators(keys: Any) -> Path:
    """The coordinator's folder of keys."""
    from distio.runtime.keys import chosen_keys

    folder = chosen_keys(keys)
    if folder is None:
        raise ClusterError("whose keys? Give the coordinator's folder: --keys DIR, or DISTIO_KEYS")
    return folder


def _checked(public: str) -> str:
    from distio.coordination.membership.keys import require_public

    try:
        return require_public(public)
    except ValueError as error:
        raise ClusterError(str(error)) from None
