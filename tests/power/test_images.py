"""The images are those that a disk may come to, and no others."""

from __future__ import annotations

from random import Random

import pytest

from tests.power.images import KINDS, Disk, Image, apply, fate
from tests.power.recording import Cut, Event, FolderSynced, Made, Removed, Synced, Written

A = b"a" * 4096
B = b"b" * 4096


def images(events: list[Event], number: int = 400, before: Image | None = None) -> list[Image]:
    """Many images of the moment after `events`."""
    disk, random = Disk(before), Random(1)
    disk.go_on(events)
    return [disk.image(fate(random, disk)) for _ in range(number)]


def contents(events: list[Event], before: bytes = A) -> set[bytes]:
    """What may stand in the one file of a folder."""
    return {image["file"] for image in images(events, before={"file": before})}


def test_what_was_synced_stands_in_every_image() -> None:
    assert contents([Written(1, 0, B), Synced(1)]) == {B}
    assert contents([Cut(1, 512), Synced(1)]) == {A[:512]}


def test_what_was_not_synced_stands_in_some_images() -> None:
    assert {A, B} < contents([Written(1, 0, B)])
    assert contents([Cut(1, 512)]) == {A, A[:512]}


def test_a_write_is_torn_between_sectors() -> None:
    torn = contents([Written(1, 0, B)]) - {A, B}
    tidy = [content for content in torn if set(content) <= set(b"ab")]
    assert tidy
    assert all(len(set(content[at : at + 512])) == 1 for content in tidy for at in range(0, 4096, 512))
    assert len(tidy) < len(torn), "some sectors hold garbage"


def test_what_stands_beside_a_write_is_never_touched() -> None:
    assert all(
        content[:1000] == A[:1000] and content[2000:] == A[2000:] for content in contents([Written(1, 1000, B[:1000])])
    )


def test_a_later_write_may_be_there_without_an_earlier_one() -> None:
    content = contents([Written(1, 0, B[:2048]), Written(1, 2048, B[:2048])])
    assert {A, B, A[:2048] + B[:2048], B[:2048] + A[:2048]} <= content


def test_a_file_may_have_grown_without_what_was_written() -> None:
    assert {A, A + B, A + bytes(4096)} <= contents([Written(1, 4096, B)])


def test_a_name_is_safe_once_its_folder_is_synced() -> None:
    made: list[Event] = [Made("file", 1), Written(1, 0, A), Synced(1)]
    assert {len(image) for image in images(made)} == {0, 1}
    assert images([*made, FolderSynced()], 20) == [{"file": A}] * 20


def test_a_file_that_was_removed_may_come_back_until_its_folder_is_synced() -> None:
    before = {"file": A}
    assert {len(image) for image in images([Removed("file")], before=before)} == {0, 1}
    assert images([Removed("file"), FolderSynced()], 20, before) == [{}] * 20


def test_an_old_file_may_come_back_in_place_of_a_new_one_of_that_name() -> None:
    events: list[Event] = [Removed("file"), Made("file", 2), Written(2, 0, B), Synced(2)]
    assert {image.get("file") for image in images(events, before={"file": A})} == {None, A, B}


@pytest.mark.parametrize("kind", KINDS)
def test_where_nothing_is_under_way_there_is_one_image(kind: object) -> None:
    disk = Disk({"file": A})
    disk.go_on([Written(1, 0, B), Synced(1)])
    assert disk.image(kind(Random(1), disk)) == {"file": B}  # type: ignore[operator]


def test_a_write_behind_the_end_leaves_zeros_before_it() -> None:
    content = bytearray(b"a")
    apply(content, Written(1, 3, b"b"))
    apply(content, Cut(1, 6))
    assert content == b"a\0\0b\0\0"
