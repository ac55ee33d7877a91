"""Run tasks while you write them: a worker that loads the application anew whenever the source changes.

APP is what to import: a file (hello.py), a module (shop.tasks) or module:name, where name may be a Deferq to use,
or a WSGI or ASGI application, to which tasks with an url are delivered.
Without one the setting `app` decides. What tasks print appears at once.

Ctrl-C stops it; running tasks have two seconds to finish.
"""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from deferq.cli.arguments import EXIT_OK, add_url, count
from deferq.model.events import Event, EventName

if TYPE_CHECKING:
    from deferq.cli.parent import Application
    from deferq.runtime.children.nursery import Nursery
    from deferq.runtime.children.parent import ParentWorker
    from deferq.runtime.listeners import Listener

DRAIN_S = 2.0
NOT_LOADED = "the application cannot be loaded; waiting for a change of the source"
EPILOG = (
    "Exit codes: 0 stopped; 2 wrong usage or configuration, or (with --no-reload) the application cannot be imported or"
    " the store cannot be used; 130 or 143 ended by a second signal."
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    parser.add_argument("app", metavar="APP", nargs="?", help="file, module or module:name to import")
    add_url(parser)
    parser.add_argument("--threads", type=count, help="how many plain functions run at the same time")
    parser.add_argument(
        "--no-reload", action="store_true", help="run all in this process, for a debugger; do not watch the source"
    )
    parser.add_argument("--child", help=argparse.SUPPRESS)  # what a parent tells its child: see spawning.py
    parser.set_defaults(verbose=True, async_slots=None, quarantine_memory=None)


def run(args: argparse.Namespace) -> int:
    """Watch, and have children run the newest source; or be one of them; or run it all in this process."""
    if args.child is not None:
        from deferq.cli.child import be_child

        return be_child(args)
    if args.no_reload:
        from deferq.cli.oneprocess import work_in_this_process

        return work_in_this_process(args, DRAIN_S)
    try:
        return _Dev(args).run()
    except KeyboardInterrupt:  # before there was a worker that could be stopped
        return EXIT_OK


class _Dev:
    """A parent whose child is replaced whenever the source changes."""

    def __init__(self, args: argparse.Namespace) -> None:
        from deferq.cli.parent import new_nursery
        from deferq.cli.reloading import SourceWatch
        from deferq.runtime.children.nursery import Household

        self._arguments = args
        self._nursery = new_nursery(_child_arguments(args))
        self._nursery.household = Household(drain_s=DRAIN_S, insists=False)
        self._parent: ParentWorker | None = None
        self._watch = SourceWatch(args.app, self._on_change)

    def run(self) -> int:
        from deferq.cli.narrating import Narrator
        from deferq.cli.parent import new_parent, print_banner
        from deferq.cli.stopping import Stopping

        application = self._application()
        narrator = Narrator()
        narrator.names -= _ReloadNarrator.names
        listeners: list[Listener] = [narrator, _ReloadNarrator(self._nursery)]
        self._parent = new_parent(self._nursery, application, listeners, drain_s=DRAIN_S)
        Stopping().watch_over(self._parent)
        print_banner("dev", application, self._parent, ("reload", "when the source changes"))
        if self._watch.changed:  # while it was loaded, when nobody could reload it
            self._parent.reload("the source has changed")
        self._parent.run()
        application.engine.close()
        return EXIT_OK

    def _application(self) -> Application:
        """What the first child says that can load the application; each change of the source is another chance."""
        from deferq.cli.parent import first_application

        while (application := first_application(self._nursery)) is None:
            _say(NOT_LOADED)
            self._watch.wait_for_change()
        return application

    def _on_change(self, files: str) -> None:
        _say(f"{files} changed: reloading")
        if self._parent is not None:
            self._parent.reload("the source has changed")


class _ReloadNarrator:
    """A listener that says how a reload went."""

    names = frozenset({EventName.CHILD_STARTED, EventName.CHILD_LOST})

    def __init__(self, nursery: Nursery) -> None:
        self._nursery = nursery
        self._first = True

    def __call__(self, event: Event) -> None:
        if event.name is EventName.CHILD_LOST:
            _say(NOT_LOADED if self._nursery.gave_up else f"a child process is lost: {event.detail}")
        elif not self._first:
            _say("reloaded")
        self._first = False


def _child_arguments(args: argparse.Namespace) -> list[str]:
    given = ["dev", *([args.app] if args.app else [])]
    for option, value in (("--url", args.url), ("--threads", args.threads)):
        given += [option, str(value)] if value is not None else []
    return given


def _say(words: str) -> None:
    print(words, file=sys.stderr, flush=True)
