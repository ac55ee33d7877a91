"""Small versioned documents, changed by compare-and-set."""

from __future__ import annotations

from deferq.engines.base import LeasingEngine, Record, RecordChange
from tests.support import START, US

DUE = START + 60 * US


def make(key: str, document: str = "{}", *, kind: str = "worker", due: int | None = None) -> RecordChange:
    return RecordChange(kind, key, 0, due, document)


def test_a_record_is_made_with_version_one(engine: LeasingEngine) -> None:
    assert engine.change_records([make("w1", '{"host":"a"}', due=DUE)]) == [True]
    assert engine.records("worker") == [Record("worker", "w1", 1, DUE, '{"host":"a"}')]


def test_a_record_is_not_made_twice(engine: LeasingEngine) -> None:
    engine.change_records([make("w1", '"first"')])
    assert engine.change_records([make("w1", '"second"')]) == [False]
    assert engine.records("worker")[0].document == '"first"'


def test_a_change_that_expects_the_stored_version_applies_and_raises_it(engine: LeasingEngine) -> None:
    engine.change_records([make("w1", due=DUE)])
    assert engine.change_records([RecordChange("worker", "w1", 1, None, '"new"')]) == [True]
    assert engine.records("worker") == [Record("worker", "w1", 2, None, '"new"')]


def test_a_change_that_expects_another_version_changes_nothing(engine: LeasingEngine) -> None:
    engine.change_records([make("w1", '"old"')])
    engine.change_records([RecordChange("worker", "w1", 1, None, '"current"')])
    stale = [RecordChange("worker", "w1", version, DUE, '"stale"') for version in (0, 1, 3)]
    assert engine.change_records(stale) == [False, False, False]
    assert engine.records("worker") == [Record("worker", "w1", 2, None, '"current"')]


def test_a_change_of_a_record_that_is_not_there_does_not_apply(engine: LeasingEngine) -> None:
    assert engine.change_records([RecordChange("worker", "w1", 1, None, "{}")]) == [False]
    assert engine.records("worker") == []


def test_a_record_is_deleted_by_whoever_knows_its_version(engine: LeasingEngine) -> None:
    engine.change_records([make("w1")])
    assert engine.change_records([RecordChange("worker", "w1", 7, None, None)]) == [False]
    assert engine.change_records([RecordChange("worker", "w1", 1, None, None)]) == [True]
    assert engine.records("worker") == []
    assert engine.change_records([make("w1")]) == [True]


def test_each_change_of_a_call_is_answered_for_itself_and_in_order(engine: LeasingEngine) -> None:
    changes = [
        make("a"),
        RecordChange("worker", "b", 4, None, "{}"),
        RecordChange("worker", "a", 1, None, '"second"'),
        make("c"),
    ]
    assert engine.change_records(changes) == [True, False, True, True]
    assert [(record.key, record.version) for record in engine.records("worker")] == [("a", 2), ("c", 1)]


def test_kinds_do_not_mix(engine: LeasingEngine) -> None:
    engine.change_records([make("x", '"w"'), make("x", '"s"', kind="schedule")])
    assert [record.document for record in engine.records("worker")] == ['"w"']
    assert [record.document for record in engine.records("schedule")] == ['"s"']
    assert engine.records("run") == []


def test_records_are_paged_by_key(engine: LeasingEngine) -> None:
    engine.change_records([make(key) for key in ("d", "b", "e", "a", "c")])
    first = engine.records("worker", limit=2)
    second = engine.records("worker", after=first[-1].key, limit=2)
    third = engine.records("worker", after=second[-1].key, limit=2)
    assert [[record.key for record in page] for page in (first, second, third)] == [["a", "b"], ["c", "d"], ["e"]]


def test_documents_keep_every_character(engine: LeasingEngine) -> None:
    document = '{"text":"Grüße, \\u0000 \'quoted\' \U0001f600; drop table"}'
    engine.change_records([make("a'b", document)])
    assert engine.records("worker")[0].document == document
