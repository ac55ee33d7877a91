"""Settings: where a value comes from, and what is refused with the place it stands in."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from deferq.config import SETTINGS, Settings, find_project_file, gather
from deferq.errors import ConfigError

SECRET = "a secret of thirty-two characters"


def gathered(folder: Path, environ: Mapping[str, str] | None = None, **given: Any) -> Settings:
    return gather(given, environ=environ or {}, folder=folder)


def project(folder: Path, text: str) -> Path:
    (folder / "pyproject.toml").write_text(text, encoding="utf-8")
    return folder


def test_without_any_setting_the_defaults_hold(tmp_path: Path) -> None:
    settings = gathered(tmp_path)
    assert {name: settings[name] for name in SETTINGS} == {name: setting.default for name, setting in SETTINGS.items()}
    assert {value.origin for value in settings.values.values()} == {"default"}


def test_the_call_comes_before_the_environment_before_the_project(tmp_path: Path) -> None:
    project(tmp_path, '[tool.deferq]\nurl = "sqlite:///c.db"\nthreads = 3\ndrain_s = 3')
    settings = gathered(tmp_path, {"DEFERQ_URL": "sqlite:///b.db", "DEFERQ_THREADS": "2"}, url="sqlite:///a.db")
    assert (settings["url"], settings["threads"], settings["drain_s"]) == ("sqlite:///a.db", 2, 3.0)
    assert [settings.values[name].origin for name in ("url", "threads", "drain_s")] == [
        "given", "environment DEFERQ_THREADS", f"[tool.deferq] in {tmp_path / 'pyproject.toml'}",
    ]  # fmt: skip


def test_none_and_an_empty_variable_mean_not_given(tmp_path: Path) -> None:
    assert gathered(tmp_path, {"DEFERQ_URL": ""}, url=None).values["url"].origin == "default"


def test_the_nearest_project_file_counts_and_its_folder_is_the_project(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert find_project_file(inner) is None
    assert gathered(inner).project == inner
    project(tmp_path, "[tool.deferq]\nthreads = 5")
    assert (gathered(inner).project, gathered(inner)["threads"]) == (tmp_path, 5)
    project(inner, "")
    assert (gathered(inner).project, gathered(inner)["threads"]) == (inner, None)


@pytest.mark.parametrize("name", list(SETTINGS))
def test_every_setting_has_a_variable(tmp_path: Path, name: str) -> None:
    text = {
        "url": "memory://",
        "app": "a:b",
        "worker": "external",
        "allow": "a.,b.",
        "secrets": SECRET,
        "base_url": "https://shop.example",
        "payload": "json",
        "payload_accept": "pickle,json",
        "trust_app_engine_headers": "1",
    }.get(name, "7")
    value = gathered(tmp_path, {SETTINGS[name].variable: text}).values[name]
    assert value.origin == f"environment DEFERQ_{name.upper()}"
    assert SETTINGS[name].help


def test_lists_stand_between_commas_in_the_environment(tmp_path: Path) -> None:
    settings = gathered(tmp_path, {"DEFERQ_ALLOW": "myapp., shop.", "DEFERQ_SECRETS": f"{SECRET}1, {SECRET}2"})
    assert settings["allow"] == ("myapp.", "shop.")
    assert settings["secrets"] == (f"{SECRET}1", f"{SECRET}2")


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("1", True),
        ("true", True),
        ("Yes", True),
        ("on", True),
        (True, True),
        ("0", False),
        ("off", False),
        (False, False),
    ],
)
def test_a_truth_value_has_many_names(tmp_path: Path, value: object, meant: bool) -> None:
    assert gathered(tmp_path, trust_app_engine_headers=value)["trust_app_engine_headers"] is meant


@pytest.mark.parametrize("value", ["maybe", "2", "", 1, 0, 5.0, []])
def test_what_is_neither_true_nor_false_is_refused(tmp_path: Path, value: object) -> None:
    with pytest.raises(ConfigError, match="trust_app_engine_headers: expected true or false"):
        gathered(tmp_path, trust_app_engine_headers=value)


def test_an_empty_allow_list_is_one(tmp_path: Path) -> None:
    assert gathered(tmp_path, allow=[])["allow"] == ()


@pytest.mark.parametrize(
    "url", ["http://localhost", "https://shop.example", "https://shop.example:8443/", "http://[::1]:80"]
)
def test_a_base_url_is_a_scheme_and_a_host(tmp_path: Path, url: str) -> None:
    assert gathered(tmp_path, base_url=url)["base_url"] == url


@pytest.mark.parametrize(
    "url",
    [5, "", "shop.example", "//shop.example", "ftp://shop.example", "http://", "http://a@b", "http://a/b", "http://a?b",
     "http://a#b", "http://a:0", "http://a:65536", "http://a:x", "http://a b", "http://a\n", "http://[::1", "http://ä"],
)  # fmt: skip
def test_what_is_more_or_less_than_that_is_none(tmp_path: Path, url: object) -> None:
    with pytest.raises(ConfigError, match="base_url"):
        gathered(tmp_path, base_url=url)


@pytest.mark.parametrize("value", ["a", ["a", ""], [5], 5, True])
def test_only_secrets_are_marked_as_such_and_short_ones_are_refused_without_echo(tmp_path: Path, value: object) -> None:
    assert [setting.name for setting in SETTINGS.values() if setting.secret] == ["secrets"]
    with pytest.raises(ConfigError, match=r"secrets.*at least 16.*token_urlsafe"):
        gathered(tmp_path, secrets=value)
    with pytest.raises(ConfigError, match="DEFERQ_SECRETS") as caught:
        gathered(tmp_path, {"DEFERQ_SECRETS": "hunter2"})
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("url", 5),
        ("url", ""),
        ("url", Path("a.db")),
        ("app", 5),
        ("allow", [""]),
        ("allow", [5]),
        ("allow", 5),
        ("secrets", []),
        ("secrets", b"bytes of more than sixteen"),
        ("worker", "nowhere"),
        ("worker", 5),
        ("threads", 0),
        ("threads", -1),
        ("threads", "many"),
        ("threads", 2.5),
        ("threads", True),
        ("threads", []),
        ("async_slots", float("nan")),
        ("payload_limit", 0),
        ("drain_s", -1),
        ("drain_s", "soon"),
        ("drain_s", float("nan")),
        ("drain_s", float("inf")),
        ("drain_s", 10**400),
        ("drain_s", True),
        ("tombstone_s", []),
        ("keep_succeeded_max", "1e400"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_the_name_of_the_setting(
    tmp_path: Path, name: str, value: object
) -> None:
    with pytest.raises(ConfigError, match=f"^{name}: "):
        gathered(tmp_path, **{name: value})


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[tool.deferq]\nthreads = 0", "threads of \\[tool.deferq\\]"),
        ("[tool.deferq]\nthread = 5", "has no setting 'thread'.*Did you mean 'threads'"),
        ("[tool]\ndeferq = 5", "must be a table"),
        ("[tool.deferq\n", "cannot be read"),
    ],
)
def test_a_mistake_in_the_project_file_is_told_with_the_file(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says) as caught:
        gathered(project(tmp_path, text))
    assert str(tmp_path / "pyproject.toml") in str(caught.value)


def test_a_project_file_that_is_no_text_is_told(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_bytes(b"\xff\xfe\0")
    with pytest.raises(ConfigError, match="cannot be read"):
        gathered(tmp_path)


def test_an_odd_tool_table_of_somebody_else_is_passed_over(tmp_path: Path) -> None:
    assert gathered(project(tmp_path, "tool = 5"))["threads"] is None


def test_an_unknown_setting_is_refused_with_the_one_that_was_meant(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no setting 'drain'.*Did you mean 'drain_s'"):
        gathered(tmp_path, drain=5)
    with pytest.raises(ConfigError, match="There are: url, app"):
        gathered(tmp_path, zzz=5)


def test_numbers_may_be_texts_as_the_environment_gives_them(tmp_path: Path) -> None:
    settings = gathered(tmp_path, {"DEFERQ_DRAIN_S": "2.5", "DEFERQ_THREADS": " 4 "})
    assert (settings["drain_s"], settings["threads"]) == (2.5, 4)


def test_settings_that_land_in_a_log_show_no_value(tmp_path: Path) -> None:
    settings = gathered(tmp_path, secrets=[SECRET], url="postgres://user:hunter2@host/db")
    assert SECRET not in repr(settings)
    assert "hunter2" not in f"{settings} {settings.values}"
