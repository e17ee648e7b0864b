"""From bytes to objects."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from distio.core.pickling.code_records import NO_STAND_INS, StandIns
from distio.core.pickling.finding import missing
from distio.core.pickling.payloads import digest_of, parts_of
from distio.core.pickling.spaces import (
    Heading,
    ObjectSpace,
    Opened,
    Origin,
    current_space,
    opening,
)

__all__ = ["Bundle", "bring_sources", "load"]


def load(
    payload: bytes,
    bundles: dict[bytes, Bundle] | None = None,
    attachments: dict[bytes, bytes] | None = None,
    stand_ins: StandIns = NO_STAND_INS,
) -> Any:
    """Make again what was dumped.

    Args:
        payload: what `dump` has made of it.
        bundles: those that were opened before, by digest; what is opened with one of them shares
            it, and a new one is added. None: nobody shares it.
        attachments: by digest, what the payload may refer to. A bundle among them is dropped when
            it is opened.
        stand_ins: what is taken in place of functions and classes that it names.

    Raises:
        NotImportable: a module is needed that isn't to be had here.
        Exception: whatever unpickling user data may raise.
    """
    if payload[:1] == pickle.PROTO and not attachments:
        return _load_alone(payload, stand_ins)
    attachments = {} if attachments is None else attachments
    body, definitions, digest = parts_of(payload, attachments)
    if not (definitions or digest):
        with opening(None, attachments):
            return _load_alone(body, stand_ins)
    bundle = Bundle(definitions or attachments.get(digest, b""))
    if bundles is None:
        opened = bundle.open_once(current_space(), stand_ins)
    else:
        digest = digest or digest_of(definitions)
        opened = bundles.setdefault(digest, bundle).open(current_space(), stand_ins)
        attachments.pop(digest, None)
    with opening(opened, attachments):
        return _Unpickler(BytesIO(body), stand_ins).load()


def bring_sources(
    payload: bytes, bundles: Mapping[bytes, Bundle], attachments: Mapping[bytes, bytes]
) -> None:
    """Let the modules be imported that come with a payload as text, before that is opened."""
    _, definitions, digest = parts_of(payload, attachments)
    if digest not in bundles:
        definitions = definitions or attachments.get(digest, b"")
        if definitions:
            sources, _ = pickle.loads(definitions)  # the first of several pickles
            space = current_space()
            with space.lock:
                space.sources.add(sources)


def _load_alone(body: bytes, stand_ins: StandIns) -> Any:
    """Load a body that refers to no bundle, which is by far the most frequent: quickly."""
    if stand_ins:
        return _Unpickler(BytesIO(body), stand_ins).load()
    try:
        return pickle.loads(body)
    except (ImportError, AttributeError):
        return _Unpickler(BytesIO(body)).load()  # which says what is missing


class Bundle:
    """A bundle that came, opened by the first who needs it; the others share what that made."""

    __slots__ = ("_opened", "_space", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        """Empty once it is opened."""
        self._opened: Opened | None = None
        self._space: ObjectSpace | None = None

    def open(self, space: ObjectSpace, stand_ins: StandIns = NO_STAND_INS) -> Opened:
        """The namespaces that it defines."""
        with space.lock:
            if self._opened is None:
                self._opened = _fill(space, self.payload, stand_ins)
                self.payload = b""
                self._space = space
                space.keep(self._opened)
            return self._opened

    def open_once(self, space: ObjectSpace, stand_ins: StandIns = NO_STAND_INS) -> Opened:
        """Open a bundle that nobody keeps."""
        with space.lock:
            return _fill(space, self.payload, stand_ins)

    def release(self) -> None:
        """Nobody opens anything with it any more: free what nobody uses."""
        opened, self._opened = self._opened, None
        if opened is not None and self._space is not None:
            self._space.release(opened)


def _fill(space: ObjectSpace, bundle: bytes, stand_ins: StandIns) -> Opened:
    file = BytesIO(bundle)
    sources, headings = pickle.load(file)
    space.sources.add(sources)
    opened = space.begin([Heading(Origin(*origin), *rest) for origin, *rest in headings])
    if not opened.is_home:
        with opening(opened):
            unpickler = _Unpickler(file, stand_ins)
            while file.tell() < len(bundle):
                for index, names in unpickler.load().items():
                    opened.define(index, names)
        space.show(opened)
    return opened


class _Unpickler(pickle.Unpickler):
    """Says which module is missing here, and what is to be done."""

    def __init__(self, file: BytesIO, stand_ins: StandIns = NO_STAND_INS) -> None:
        super().__init__(file)
        self._stand_ins = stand_ins

    def find_class(self, module: str, name: str) -> Any:
        stand_in = self._stand_ins.get((module, name))
        if stand_in is not None:
            return stand_in
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError) as error:
            raise missing(module, f"in which {name} is defined", error) from None
