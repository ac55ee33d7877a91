"""The views of the page take deliveries, under the frameworks they are written for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from deferq import Deferq
from deferq.codec.wire import OUTCOME
from deferq.model.outcome import Succeeded
from tests.docs.pages import ROOT, snippets
from tests.support import lease_one, sample_tasks
from tests.support.deliveries import Sent, delivery, environ_of, over_asgi, over_wsgi

PAGE = ROOT / "docs" / "explanation" / "over-http.md"
PATH = "/tasks/mail"


@pytest.fixture
def app(monkeypatch: pytest.MonkeyPatch, default_app: Deferq) -> Deferq:
    sample_tasks.forget()
    return default_app


@pytest.fixture(autouse=True)
def external(monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings are read when the application is made, so this comes first."""
    monkeypatch.setenv("DEFERQ_WORKER", "external")


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Callable[[str], ModuleType]]:
    """Import a snippet of the page by its name."""
    loaded: list[str] = []

    def load(name: str) -> ModuleType:
        code = next(one.code for one in snippets(PAGE) if one.file_name == f"{name}.py")
        (tmp_path / f"{name}.py").write_text(code)
        spec = spec_from_file_location(name, tmp_path / f"{name}.py")
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = module_from_spec(spec)
        loaded.append(name)
        spec.loader.exec_module(module)
        return module

    yield load
    for name in loaded:
        del sys.modules[name]


@pytest.fixture
def sent(external: None, app: Deferq) -> Sent:
    app.defer(sample_tasks.add, 1, 2)
    return delivery(app, lease_one(app.engine), path=PATH)


def assert_ran(answered: Any) -> None:
    assert answered.status == 200
    assert isinstance(answered.outcome, Succeeded)


def test_the_plain_view(load: Callable[[str], ModuleType], sent: Sent) -> None:
    assert_ran(over_wsgi(load("plain_view").application, sent))


def test_the_view_under_flask(load: Callable[[str], ModuleType], sent: Sent) -> None:
    pytest.importorskip("flask")
    application = load("flask_view").app.wsgi_app
    assert over_wsgi(application, sent._replace(method="GET")).status == 405
    refused = over_wsgi(application, sent.with_header("X-Deferq-Time", "1"))
    assert (refused.status, OUTCOME.lower() in refused.headers) == (403, False)
    assert_ran(over_wsgi(application, sent))
    assert over_wsgi(application, sent).status == 409


def test_the_view_under_fastapi(load: Callable[[str], ModuleType], sent: Sent) -> None:
    pytest.importorskip("fastapi")
    application = load("fastapi_view").app
    assert over_asgi(application, sent.with_header("X-Deferq-Time", "1")).status == 403
    assert_ran(over_asgi(application, sent))
    assert over_asgi(application, sent).status == 409


def test_the_view_under_django(load: Callable[[str], ModuleType], sent: Sent) -> None:
    pytest.importorskip("django")
    from django.conf import settings

    if not settings.configured:
        settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="only for this test")
    from django.core.handlers.wsgi import WSGIRequest

    view = load("django_view").mail
    assert view.csrf_exempt
    response = view(WSGIRequest(environ_of(sent)))
    assert (response.status_code, "X-Deferq-Outcome" in response) == (200, True)
    assert view(WSGIRequest(environ_of(sent))).status_code == 409
