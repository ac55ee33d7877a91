"""What a program defers is run by `deferq worker` in its children, and delivered by `deferq push`."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest

from deferq import Deferq, State
from deferq.engines.base import Filter
from tests.cli.processes import Running
from tests.compat.test_deferred_wrapping import served
from tests.docs.pages import ROOT
from tests.support.pushing import until

pytestmark = pytest.mark.slow

#: An application of App Engine's, but for the import line. It is also run as a script.
SHOP = """
    import sys
    from deferq.compat.appengine import deferred, wrap_wsgi_app

    def say(*words):
        sys.stdout.write(" ".join([*map(str, words), "\\n"]))
        sys.stdout.flush()

    class Cart:
        def __init__(self, size):
            self.items = "x" * size

        def count(self, word):
            say(word, len(self.items))

    def fail_twice(word, tries=[]):
        tries.append(word)
        if len(tries) < 3:
            raise deferred.SingularTaskFailure("not yet")
        say(word)

    def view(environ, start_response):
        say("POST", environ["PATH_INFO"])
        return deferred.application(environ, start_response)

    application = wrap_wsgi_app(view, use_deferred=True)

    if __name__ == "__main__":
        deferred.defer(say, "a function of the script")
        deferred.defer(Cart(3).count, "a method")
        deferred.defer(Cart(400_000).count, "a large one")
        deferred.defer(say, "delivered", _url="/custom/path")
        deferred.defer(Cart(500_000).count, "a large one, delivered", _url="/custom/path")
        deferred.defer(fail_twice, "the third time")
"""
SAID = (
    "a function of the script ",
    "a method 3 ",
    "a large one 400000 ",
    "delivered ",
    "delivered 500000 ",
    "the third time ",
)


@pytest.fixture
def shop(tmp_path: Path) -> Path:
    (tmp_path / "pyproject.toml").write_text("")
    (tmp_path / "shop.py").write_text(textwrap.dedent(SHOP))
    with Running(tmp_path, command=("shop.py",)) as script:
        script.wait_for_silence()
        assert script.output == ""
    return tmp_path


def targets(shop: Path) -> set[str]:
    deferq = Deferq(f"sqlite:///{shop}/.deferq/deferq.db")
    try:
        return {task.target for task in deferq.engine.find(Filter()).tasks}
    finally:
        deferq.close()


def ended_well(shop: Path) -> None:
    deferq = Deferq(f"sqlite:///{shop}/.deferq/deferq.db")
    try:
        until(
            lambda: [task.state for task in deferq.engine.find(Filter()).tasks] == [State.SUCCEEDED] * 6,
            "they have not all succeeded",
        )
    finally:
        deferq.close()


def test_a_worker_that_knows_the_application_runs_all_of_them(shop: Path) -> None:
    assert targets(shop) == {"shop:say", "shop:Cart.count", "shop:fail_twice"}
    with Running(shop, "worker", "shop:application") as worker:
        for words in SAID:
            worker.wait_for(words)
        worker.wait_for("POST /custom/path", times=2)
        ended_well(shop)


def test_a_worker_that_knows_no_application_leaves_the_delivered_ones(shop: Path) -> None:
    with Running(shop, "worker") as worker:
        for words in (*SAID[:3], SAID[5]):
            worker.wait_for(words)
        assert "delivered" not in worker.output


def test_they_are_pushed_to_an_application_elsewhere(shop: Path) -> None:
    (shop / "pyproject.toml").write_text('[tool.deferq]\nworker = "external"\n')
    paths = f"import sys; sys.path.insert(0, {str(ROOT)!r})"
    code = f"{paths}; import shop; from tests.compat.test_deferred_process import serve; serve(shop.application)"
    server = ("-c", code)
    with Running(shop, command=server) as application:
        line = application.wait_for("serving at ")
        base = re.sub(".*serving at ", "", line)
        with Running(shop, "push", "--to", base):
            for words in SAID:
                application.wait_for(words)
            ended_well(shop)


def serve(application: object) -> None:
    """In a process of its own, until it is killed."""
    import threading

    with served(application) as base:
        print(f"serving at {base}", flush=True)
        threading.Event().wait()
