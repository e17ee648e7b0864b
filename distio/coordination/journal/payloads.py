"""Payloads in frames that are blobs as well: a turn has their numbers in place of their bytes.

A payload that the machine keeps as a blob came in a frame of the same turn. So the journal would
have it twice: in the turn, until the next checkpoint, and as a blob. A blob of a turn is there as
long as the turn, so the turn needs only its number, and the place in the frame.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from distio.coordination.journal.blobs import Blobs
from distio.coordination.journal.inputs import Frame, Heard, Input
from distio.protocol.base import PAYLOAD
from distio.protocol.codec import DETACH_BYTES, Batch
from distio.protocol.fields import marked
from distio.protocol.messages import MemberMessage
from distio.protocol.pieces import Bytes, Piece, Pieces, bytes_of

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["detached_of", "with_bytes", "with_numbers"]


def detached_of(batch: Batch[MemberMessage], blobs: Blobs) -> list[bytes]:
    """The parts of a read batch's payloads that came in frames of their own, in this order.

    Pieces are in the batch as the very bytes that are returned: so they are found as blobs. Of a
    part in shared memory that is how a turn refers to it.
    """
    frames: list[bytes] = []
    came: defaultdict[tuple[int, int], list[Piece]] = defaultdict(list)
    for index, part, _ in batch.detached:
        payload = _payload_of(batch, index, part)
        if isinstance(payload, bytes):
            frames.append(payload)
            continue
        pieces = came[index, part]
        piece = payload.parts[len(pieces)]
        if isinstance(piece, bytes | memoryview):
            frames.append(bytes_of(piece))
            pieces.append(frames[-1])
        else:
            kept = blobs.keep_part(piece)
            frames.append(kept.told())
            pieces.append(kept)
    for (index, part), pieces in came.items():
        payload = _payload_of(batch, index, part)
        assert isinstance(payload, Pieces)
        payload.parts = pieces
    return frames


def _payload_of(batch: Batch[MemberMessage], index: int, part: int) -> Bytes:
    message = batch.messages[index]
    field = marked(type(message), PAYLOAD)
    assert field is not None  # a payload of it was in a frame
    payload: Bytes = field.values(message)[part]
    return payload


def with_numbers(
    inputs: Sequence[Input], next_numbers: Sequence[int], blobs: Mapping[int, bytes]
) -> Sequence[Input]:
    """The inputs of a turn, with the numbers of its blobs in place of their bytes.

    Args:
        inputs: the inputs, in order.
        next_numbers: for each of them, the number that the next blob was to have when it came.
        blobs: the blobs of the turn, by number, in order.
    """
    by_input: defaultdict[int, list[tuple[int, bytes]]] = defaultdict(list)
    for number, payload in blobs.items():
        index = bisect_right(next_numbers, number) - 1
        by_input[max(0, index)].append((number, payload))  # parts are read before they are noted
    slim = [*inputs]
    for index, found in by_input.items():
        heard = inputs[index]
        if isinstance(heard, Heard):
            frames = [_with_numbers(frame, found) for frame in heard.frames]
            slim[index] = replace(heard, frames=frames)
    return slim


def _with_numbers(frame: Frame, blobs: Iterable[tuple[int, bytes]]) -> Frame:
    assert isinstance(frame, bytes), "the numbers are there already"
    parts: list[bytes | int] = []
    begin = 0
    for number, payload in blobs:
        if payload == frame:  # it came in a frame of its own; most often it is that frame
            return [number]
        if len(payload) <= DETACH_BYTES and (found := frame.find(payload, begin)) >= 0:
            parts += [frame[begin:found], number]
            begin = found + len(payload)
    return [*parts, frame[begin:]] if parts else frame


def with_bytes(inputs: Sequence[Input], read: Callable[[int], bytes]) -> tuple[list[Input], int]:
    """The inputs of a turn as they came.

    Args:
        inputs: what `with_numbers` has returned.
        read: the bytes of a blob.

    Returns:
        The inputs, and how many bytes were read.
    """
    sizes: list[int] = []

    def filled(frame: Frame) -> Frame:
        if isinstance(frame, bytes):
            return frame
        parts = [part if isinstance(part, bytes) else read(part) for part in frame]
        sizes.extend(len(whole) for whole, part in zip(parts, frame) if isinstance(part, int))
        return parts[0] if len(parts) == 1 else b"".join(parts)

    whole = [
        replace(each, frames=[filled(frame) for frame in each.frames])
        if isinstance(each, Heard)
        else each
        for each in inputs
    ]
    return whole, sum(sizes)
