"""Unpickling: from bytes to objects."""

from __future__ import annotations

import pickle
from collections import ChainMap
from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

from distio.core.pickling.code_records import NO_STAND_INS, StandIns
from distio.core.pickling.finding import missing
from distio.core.pickling.payloads import (
    Opening,
    buffers_of,
    cuts_of,
    digest_of,
    parts_of,
    unwrapped,
)
from distio.core.pickling.spaces import (
    Heading,
    ObjectSpace,
    Opened,
    Origin,
    current_space,
    opening,
)
from distio.errors import NotImportable
from distio.protocol.pieces import Bytes, joined

__all__ = ["Bundle", "bring_sources", "load"]


def load(
    payload: Bytes,
    bundles: dict[bytes, Bundle] | None = None,
    attachments: Opening | None = None,
    stand_ins: StandIns = NO_STAND_INS,
) -> Any:
    """Make again what was dumped.

    Args:
        payload: what `dump` has made of it.
        bundles: those that were opened before, by digest; what is opened with one of them shares
            it, and a new one is added. None: nobody shares it.
        attachments: by name, what the payload may refer to, unless that is behind it. A bundle
            among them is dropped when it is opened.
        stand_ins: what is taken in place of functions and classes that it names.

    Raises:
        NotImportable: a module is needed that isn't to be had here.
        Exception: whatever unpickling user data may raise; a note says that this was done.
    """
    try:
        return _load(payload, bundles, attachments, stand_ins)
    except NotImportable:  # which says so by itself
        raise
    except Exception as exception:
        process = current_space().process
        exception.add_note(f"raised while pickle made an object again that came to {process}")
        raise


def _load(
    payload: Bytes,
    bundles: dict[bytes, Bundle] | None,
    attachments: Opening | None,
    stand_ins: StandIns,
) -> Any:
    if isinstance(payload, bytes) and payload[:1] == pickle.PROTO and not attachments:
        return _load_alone(payload, [], stand_ins)
    bare, behind = unwrapped(payload)
    attachments = {} if attachments is None else attachments
    at_hand: Opening = ChainMap(behind, attachments) if behind else attachments
    body, definitions, digest = parts_of(bare)
    body, cuts = cuts_of(body)
    if not (definitions or digest):
        with opening(None, at_hand):
            return _load_alone(body, buffers_of(cuts, at_hand), stand_ins)
    bundle = Bundle(definitions or joined(attachments.get(digest, b"")))
    if bundles is None:
        opened = bundle.open_once(current_space(), at_hand, stand_ins)
    else:
        digest = digest or digest_of(definitions)
        shared = bundles.setdefault(digest, bundle)
        opened = shared.open(current_space(), at_hand, stand_ins)
        attachments.pop(digest, None)
    with opening(opened, at_hand):
        return _Unpickler(BytesIO(body), stand_ins, buffers_of(cuts, at_hand)).load()


def bring_sources(
    payload: Bytes, bundles: Mapping[bytes, Bundle], attachments: Mapping[bytes, Bytes]
) -> None:
    """Let the modules be imported that come with a payload as text, before that is opened."""
    _, definitions, digest = parts_of(unwrapped(payload)[0])
    if digest not in bundles:
        definitions = definitions or joined(attachments.get(digest, b""))
        if definitions:
            sources, _ = pickle.loads(cuts_of(definitions)[0])  # the first of several pickles
            space = current_space()
            with space.lock:
                space.sources.add(sources)


def _load_alone(body: bytes, buffers: Sequence[Any], stand_ins: StandIns) -> Any:
    """Load a body that refers to no bundle, which is by far the most frequent: quickly."""
    if stand_ins:
        return _Unpickler(BytesIO(body), stand_ins, buffers).load()
    try:
        return pickle.loads(body, buffers=buffers)
    except (ImportError, AttributeError):
        # which says what is missing
        return _Unpickler(BytesIO(body), stand_ins, buffers).load()


class Bundle:
    """A bundle that came, opened by the first who needs it; the others share what that made."""

    __slots__ = ("_opened", "_space", "payload")

    def __init__(self, payload: bytes) -> None:
        self.payload = payload
        """Empty once it is opened."""
        self._opened: Opened | None = None
        self._space: ObjectSpace | None = None

    def open(
        self,
        space: ObjectSpace,
        attachments: Opening,
        stand_ins: StandIns = NO_STAND_INS,
    ) -> Opened:
        """The namespaces that it defines."""
        with space.lock:
            if self._opened is None:
                self._opened = _fill(space, self.payload, attachments, stand_ins)
                self.payload = b""
                self._space = space
                space.keep(self._opened)
            return self._opened

    def open_once(
        self,
        space: ObjectSpace,
        attachments: Opening,
        stand_ins: StandIns = NO_STAND_INS,
    ) -> Opened:
        """Open a bundle that nobody keeps."""
        with space.lock:
            return _fill(space, self.payload, attachments, stand_ins)

    def release(self) -> None:
        """Free what no object uses: nothing is opened with the bundle any more."""
        opened, self._opened = self._opened, None
        if opened is not None and self._space is not None:
            self._space.release(opened)


def _fill(space: ObjectSpace, bundle: bytes, attachments: Opening, stand_ins: StandIns) -> Opened:
    pickles, cuts = cuts_of(bundle)
    file = BytesIO(pickles)
    sources, headings = pickle.load(file)
    space.sources.add(sources)
    opened = space.begin([Heading(Origin(*origin), *rest) for origin, *rest in headings])
    if not opened.is_home:
        with opening(opened):
            unpickler = _Unpickler(file, stand_ins, buffers_of(cuts, attachments))
            while file.tell() < len(pickles):
                for index, names in unpickler.load().items():
                    opened.define(index, names)
        space.show(opened)
    return opened


class _Unpickler(pickle.Unpickler):
    """An unpickler that says which module is missing here, and what is to be done."""

    def __init__(
        self, file: BytesIO, stand_ins: StandIns = NO_STAND_INS, buffers: Sequence[Any] = ()
    ) -> None:
        super().__init__(file, buffers=buffers)
        self._stand_ins = stand_ins

    def find_class(self, module: str, name: str) -> Any:
        stand_in = self._stand_ins.get((module, name))
        if stand_in is not None:
            return stand_in
        try:
            return super().find_class(module, name)
        except (ImportError, AttributeError) as error:
            raise missing(module, f"in which {name} is defined", error) from None
