"""Names that the application gives: deferrables, old targets, registered objects."""

from __future__ import annotations

import pytest

from deferq.errors import ConfigError, TargetUnknown
from deferq.model.retry import RetryPolicy
from deferq.registry import DeferrableOptions, Registry
from tests.unit import callables


@pytest.fixture
def registry() -> Registry:
    return Registry()


def test_a_declared_function_has_its_options(registry: Registry) -> None:
    options = DeferrableOptions(queue="mail", retry=RetryPolicy(max_attempts=2), tags=("a",))
    registry.declare("app:send", callables.plain, options)
    assert registry.options_for("app:send") is options
    assert registry.options_for("app:other") is None
    assert registry.declared() == {"app:send": callables.plain}


def test_a_reloaded_module_declares_again_without_complaint(registry: Registry) -> None:
    registry.declare("app:send", callables.plain, DeferrableOptions(aliases=("old:send",)))
    registry.declare("app:send", callables.cached, DeferrableOptions(queue="b", aliases=("old:send",)))
    assert registry.options_for("app:send") == DeferrableOptions(queue="b", aliases=("old:send",))


def test_an_alias_leads_to_the_target_through_a_chain_of_renames(registry: Registry) -> None:
    registry.alias("first:f", "second:f")
    registry.alias("second:f", "third:f")
    assert registry.canonical("first:f") == "third:f"
    assert registry.canonical("third:f") == "third:f"
    assert registry.canonical("stranger:f") == "stranger:f"


def test_a_target_may_name_itself_as_alias(registry: Registry) -> None:
    registry.alias("app:f", "app:f")
    assert registry.canonical("app:f") == "app:f"


def test_aliases_cannot_run_in_a_circle(registry: Registry) -> None:
    registry.alias("a:f", "b:f")
    registry.alias("b:f", "c:f")
    with pytest.raises(ConfigError, match="stand for each other"):
        registry.alias("c:f", "a:f")
    assert registry.canonical("a:f") == "c:f"


def test_an_old_name_belongs_to_one_target(registry: Registry) -> None:
    registry.alias("old:f", "a:f")
    with pytest.raises(ConfigError, match="already stands for 'a:f' and cannot stand for 'b:f' too"):
        registry.declare("b:f", callables.plain, DeferrableOptions(aliases=("old:f",)))
    assert registry.options_for("b:f") is None


def test_a_registered_object_is_known_by_identity(registry: Registry) -> None:
    hostile = callables.Hostile()
    registry.register("user", hostile)
    assert registry.name_of(hostile) == "user"
    assert registry.object("user") is hostile
    assert registry.name_of(callables.Hostile()) is None


def test_an_unknown_name_may_be_known_to_a_newer_release(registry: Registry) -> None:
    with pytest.raises(TargetUnknown, match="No object is registered as 'ghost'"):
        registry.object("ghost")


@pytest.mark.parametrize("name", ["", "a b", "a:b", "ä", "a" * 101, "a\n", None, 7])
def test_a_malformed_name_is_refused(registry: Registry, name: str) -> None:
    with pytest.raises(ConfigError, match="1 to 100 ASCII letters"):
        registry.register(name, callables.Base())


def test_none_cannot_be_registered(registry: Registry) -> None:
    with pytest.raises(ConfigError, match="pass the object"):
        registry.register("user", None)


def test_a_taken_name_is_refused_for_another_object_only(registry: Registry) -> None:
    first = callables.Base(1)
    registry.register("base", first)
    registry.register("base", first)
    with pytest.raises(ConfigError, match="already names another object"):
        registry.register("base", callables.Base(2))
    assert registry.object("base") is first


def test_the_instance_of_a_reimported_class_takes_the_place_of_the_old_one(registry: Registry) -> None:
    def imported() -> type:
        return type("Module", (), {"__module__": "app", "__qualname__": "Module"})

    old, new = imported()(), imported()()
    registry.register("module", old)
    registry.register("module", new)
    assert registry.object("module") is new
    assert registry.name_of(old) is None


def test_an_object_may_have_two_names_and_keep_one(registry: Registry) -> None:
    old, new = (type("M", (), {"__module__": "app", "__qualname__": "M"})() for _ in range(2))
    registry.register("first", old)
    registry.register("second", old)
    registry.register("first", new)
    assert registry.name_of(old) == "second"
    assert registry.name_of(new) == "first"


def test_every_change_shows_in_the_version(registry: Registry) -> None:
    versions = [registry.version]
    registry.alias("old:f", "new:f")
    versions.append(registry.version)
    registry.register("base", callables.Base())
    versions.append(registry.version)
    registry.declare("new:f", callables.plain, DeferrableOptions())
    versions.append(registry.version)
    assert versions == sorted(set(versions))
