"""The text streams of workers: lines arrive whole, and no text is lost."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from io import TextIOWrapper

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distio_worker.output import Turns, WholeLines, pieces_of


@pytest.mark.slow
@given(st.lists(st.binary(max_size=9)).map(b"\n".join), st.integers(1, 8))
def test_pieces_are_whole_lines_within_the_limit_where_lines_are(text: bytes, limit: int) -> None:
    pieces = [*pieces_of(text, limit)]
    assert b"".join(pieces) == text
    for piece in pieces[:-1]:
        assert piece.endswith(b"\n")
    for piece in pieces:
        assert len(piece) <= limit or piece.count(b"\n", 0, -1) == 0


class Pipe:
    """A stream, and its output: one element for each call of the system."""

    def __init__(self, encoding: str = "utf-8", buffering: int = -1) -> None:
        # packets: a read returns what one write has written
        self.reader, writer = os.pipe2(os.O_DIRECT)
        fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 1 << 20)
        raw = open(writer, "wb", buffering)  # noqa: SIM115 (the stream closes it)
        self.turns = Turns()
        self.stream = WholeLines(TextIOWrapper(raw, encoding, "backslashreplace"), self.turns)
        os.set_blocking(self.reader, False)

    def heard(self) -> list[str]:
        packets = []
        try:
            while packet := os.read(self.reader, 1 << 16):
                packets.append(packet.decode())
        except BlockingIOError:
            pass
        return packets


@pytest.fixture(params=[-1, 0], ids=["buffered", "unbuffered"])
def pipe(request: pytest.FixtureRequest) -> Iterator[Pipe]:
    pipe = Pipe(buffering=request.param)
    yield pipe
    pipe.stream.close()
    os.close(pipe.reader)


def test_line_is_written_at_once_and_whole(pipe: Pipe) -> None:
    print("漢字", 1, 2, file=pipe.stream)
    assert pipe.heard() == ["漢字 1 2\n"]


def test_text_without_an_end_waits_for_the_rest_of_its_line(pipe: Pipe) -> None:
    print("one", end="", file=pipe.stream)
    assert pipe.heard() == []
    print(" two\nthree", end="", file=pipe.stream)
    assert pipe.heard() == ["one two\n"]
    pipe.stream.flush()
    assert pipe.heard() == ["three"]
    pipe.stream.flush()
    assert pipe.heard() == []


def test_threads_have_a_line_each(pipe: Pipe) -> None:
    print("mine", end="", file=pipe.stream)
    other = threading.Thread(target=lambda: print("other", end="", file=pipe.stream))
    other.start()
    other.join()
    print(" again", file=pipe.stream)
    assert pipe.heard() == ["mine again\n"]
    pipe.stream.end()
    assert pipe.heard() == ["other"]


def test_lines_of_many_threads_are_not_torn(pipe: Pipe) -> None:
    lines = {f"{number}" * 40 for number in range(4)}
    barrier = threading.Barrier(len(lines))

    def talk(line: str) -> None:
        barrier.wait()
        for _ in range(50):
            print(line[:20], line[20:], sep="", file=pipe.stream)

    threads = [threading.Thread(target=talk, args=(line,)) for line in lines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    heard = "".join(pipe.heard()).splitlines()
    assert len(heard) == 200
    assert set(heard) == lines


def test_bytes_come_before_text_that_is_written_later(pipe: Pipe) -> None:
    pipe.stream.buffer.write(b"bytes\n")
    print("text", file=pipe.stream)
    assert "".join(pipe.heard()) == "bytes\ntext\n"


def test_stream_that_is_closed_writes_the_rest() -> None:
    pipe = Pipe()
    print("left", end="", file=pipe.stream)
    pipe.stream.close()
    assert pipe.heard() == ["left"]
    os.close(pipe.reader)


def test_text_that_cannot_be_encoded_is_written_as_the_replaced_stream_would() -> None:
    pipe = Pipe("ascii")
    print("é", file=pipe.stream)
    assert pipe.heard() == ["\\xe9\n"]
    assert (pipe.stream.encoding, pipe.stream.errors) == ("ascii", "backslashreplace")
    pipe.stream.close()
    os.close(pipe.reader)


def test_stream_names_its_descriptor_and_terminal(pipe: Pipe) -> None:
    assert not pipe.stream.isatty()
    assert pipe.stream.fileno() == pipe.stream.buffer.fileno()
    with pytest.raises(TypeError, match="must be str, not bytes"):
        pipe.stream.write(b"")  # type: ignore[arg-type]  # refused


def test_stream_of_a_broken_pipe_is_named_and_loses_only_its_line() -> None:
    pipe = Pipe()
    os.close(pipe.reader)
    with pytest.raises(BrokenPipeError) as caught:
        print("nobody reads", file=pipe.stream)
    assert caught.value.filename == pipe.stream.name
    pipe.stream.close()


def heard_of(script: str) -> str:
    """The output of a process of its own whose lines are kept whole; it may fork."""
    script = f"from distio_worker.output import *\nimport os\nkeep_lines_whole()\n{script}"
    command = [sys.executable, "-c", script]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
        check=True,
    )
    return done.stdout


@pytest.mark.slow
def test_forked_child_has_none_of_the_text_of_its_parent() -> None:
    heard = heard_of("""
print("parent", end="")
if os.fork() == 0:
    print("child")
    end_output()
    os._exit(0)
os.wait()
end_output()
""")
    assert heard == "child\nparent"


@pytest.mark.slow
def test_line_longer_than_a_pipe_takes_at_once_is_whole_among_processes() -> None:
    heard = heard_of("""
for name in "ab":
    if os.fork() == 0:
        for _ in range(20):
            print(name * 100_000)
        os._exit(0)
os.wait(), os.wait()
""")
    assert sorted(heard.splitlines()) == ["a" * 100_000] * 20 + ["b" * 100_000] * 20


@pytest.mark.slow
def test_streams_of_a_process_on_one_file_take_turns() -> None:
    heard = heard_of("""
import sys, threading
def talk(stream, name):
    for _ in range(20):
        print(name * 100_000, file=stream)
both = [(sys.stdout, "a"), (sys.stderr, "b")]
threads = [threading.Thread(target=talk, args=each) for each in both]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
""")
    assert sorted(heard.splitlines()) == ["a" * 100_000] * 20 + ["b" * 100_000] * 20


def test_stream_that_has_ended_lets_no_thread_begin_a_line(pipe: Pipe) -> None:
    pipe.stream.end()
    turns: list[bool] = []
    other = threading.Thread(target=lambda: turns.append(pipe.turns.mutex.acquire(blocking=False)))
    other.start()
    other.join()
    assert turns == [False]


def test_stream_that_ends_does_not_wait_for_a_thread_that_writes_for_ever(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("distio_worker.output._PATIENCE_SECONDS", 0.0)
    other = threading.Thread(target=pipe.turns.mutex.acquire)
    other.start()
    other.join()
    pipe.stream.end()
    pipe.turns.renew()


def test_streams_of_this_process_are_not_replaced() -> None:
    assert not isinstance(sys.__stdout__, WholeLines)
