"""What goes between parent and child: frames, outcomes, the memory of starts, and a socket that is full or closed."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deferq.model.outcome import (
    INTERRUPTED,
    SUCCEEDED,
    Cancelled,
    ErrorText,
    Failed,
    Outcome,
    Parked,
    Retried,
    Snoozed,
    Succeeded,
)
from deferq.runtime.children.channel import Channel
from deferq.runtime.children.starts import PLACES, Place, Starts, shared_memory
from deferq.runtime.children.wire import Frame, Reader, pack, pack_outcome, unpack_outcome
from deferq.runtime.settling import WORKER_LOST

ODD = "\ud800 tüt \0 \U0001f600"
ERROR = ErrorText(error_type=ODD, message=ODD, traceback=ODD * 1000)
OUTCOMES: list[Outcome] = [
    Succeeded(b""), Succeeded(os.urandom(100_000)), Failed(error=ERROR), WORKER_LOST,
    Failed(error=ERROR, permanent=True, reason="corrupt"), Retried(), Retried(after_s=0.5, reason=ODD),
    Snoozed(after_s=1e9, reason=ODD), INTERRUPTED, Cancelled(), Cancelled(reason="expired"), Parked(error=ERROR),
]  # fmt: skip


@pytest.mark.parametrize("outcome", OUTCOMES, ids=lambda outcome: type(outcome).__name__)
def test_every_outcome_arrives_as_it_was(outcome: Outcome) -> None:
    packed = pack_outcome(outcome)
    assert packed is not None
    [(kind, content)] = Reader().feed(pack("done", packed))
    assert (kind, unpack_outcome(content)) == ("done", outcome)


def test_the_most_common_outcome_is_nothing() -> None:
    assert pack_outcome(SUCCEEDED) is None


@pytest.mark.parametrize("after_s", [True, 3])
def test_whole_numbers_of_seconds_arrive_as_numbers(after_s: int) -> None:
    for outcome in (Retried(after_s=after_s), Snoozed(after_s=after_s)):
        packed = pack_outcome(outcome)
        assert packed is not None
        assert unpack_outcome(packed) == outcome


def test_an_outcome_of_another_release_is_refused() -> None:
    with pytest.raises(ValueError, match="does not know"):
        unpack_outcome(("teleported", 1))


@given(st.lists(st.tuples(st.text(), st.binary() | st.text(st.characters()) | st.integers())), st.data())
def test_frames_are_found_however_the_bytes_arrive(frames: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(pack(*frame) for frame in frames)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    reader, found = Reader(), []
    for begin, end in zip([0, *cuts], [*cuts, len(stream)], strict=True):
        found += reader.feed(stream[begin:end])
    assert found == frames


def test_a_huge_frame_is_read_in_pieces() -> None:
    content = os.urandom(20_000_000)
    stream, reader, found = pack("tasks", content) + pack("stop", None), Reader(), []
    for at in range(0, len(stream), 262_144):
        found += reader.feed(stream[at : at + 262_144])
    assert found == [("tasks", content), ("stop", None)]


# ---- the memory of starts


@pytest.fixture(params=["memfd", "file"])
def memories(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> tuple[Starts, Starts]:
    """The same memory as parent and child see it."""
    if request.param == "file":
        monkeypatch.delattr(os, "memfd_create", raising=False)
    descriptor = shared_memory()
    starts = Starts(descriptor), Starts(descriptor)
    os.close(descriptor)
    return starts


def test_a_start_is_seen_by_the_other_process(memories: tuple[Starts, Starts]) -> None:
    parent, child = memories
    parent.until[PLACES - 1] = 50.0
    assert Place(child, PLACES - 1, 0.0).begin(49.0)
    assert parent.started[PLACES - 1] == 49.0
    assert set(parent.started[: PLACES - 1]) == {0.0}


@pytest.mark.parametrize("until", [0.0, 48.0, 49.0])
def test_what_may_not_start_does_not_and_does_not_count_as_started(
    memories: tuple[Starts, Starts], until: float
) -> None:
    parent, child = memories
    parent.until[3] = until
    assert not Place(child, 3, 0.0).begin(49.0)
    assert parent.started[3] == 0.0


def test_a_start_that_is_put_off_is_none(memories: tuple[Starts, Starts]) -> None:
    parent, child = memories
    parent.until[3] = 50.0
    place = Place(child, 3, 0.0)
    assert place.begin(49.0)
    place.put_off()
    assert parent.started[3] == 0.0
    assert place.until == 50.0


# ---- the channel


@pytest.fixture
def ends() -> Iterator[tuple[Channel, socket.socket]]:
    ours, theirs = socket.socketpair()
    yield Channel(ours), theirs
    ours.close()
    theirs.close()


def test_what_a_child_does_not_take_now_is_sent_later_in_order(ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    contents = [number.to_bytes(4, "big") * 50_000 for number in range(20)]
    for content in contents:
        channel.send("tasks", content)
    assert channel.clogged
    reader, heard = Reader(), []
    while len(heard) < 20:
        heard += [content for _, content in reader.feed(theirs.recv(100_000))]
        channel.flush()
    assert heard == contents
    assert not channel.clogged


def test_what_a_child_said_before_it_closed_its_end_is_heard(ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    theirs.sendall(pack("hello", 1) + pack("done", [])[:-1])
    theirs.close()
    heard = channel.receive()
    channel.readable = True
    assert heard + channel.receive() == [("hello", 1)]
    assert channel.closed


def test_sending_to_a_child_that_is_gone_fails_silently(ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    theirs.close()
    for _ in range(3):
        channel.send("tasks", b"x" * 1_000_000)
    channel.flush()
    assert not channel.clogged
    channel.receive()
    assert channel.closed


def test_a_child_that_left_without_reading_is_closed_too(ends: tuple[Channel, socket.socket]) -> None:
    channel, theirs = ends
    channel.send("tasks", 1)
    theirs.close()
    assert channel.receive() == []
    assert channel.closed


def test_silence_is_no_end(ends: tuple[Channel, socket.socket]) -> None:
    channel, _ = ends
    assert channel.receive() == []
    assert not channel.closed
