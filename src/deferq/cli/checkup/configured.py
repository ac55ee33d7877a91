"""Settings that mean nothing or are chosen rarely, and a file that declares queues."""

from __future__ import annotations

from collections.abc import Iterator

from deferq import stores
from deferq.cli.checkup.finding import Case, Finding, note, right, wrong
from deferq.cli.output import plural
from deferq.config import unknown_variables
from deferq.errors import ConfigError
from deferq.queuefile import queue_file, queues_in_file


def variables(case: Case) -> Iterator[Finding]:
    """A variable that is misspelt is passed over without a word."""
    unknown = unknown_variables(case.environ)
    for name, meant in unknown.items():
        text = f"The environment variable {name} is no setting of deferq."
        why = "It is passed over, so what somebody meant to set is not set."
        if meant:
            yield wrong("variable", text, why, f"Did you mean {meant}? Rename it, or unset it.")
        else:
            yield note("variable", text, why, "'deferq config show' lists the settings. Rename or unset it.")
    if not unknown:
        yield right("variables", "every DEFERQ_ variable of the environment is a setting")


def durability(case: Case) -> Iterator[Finding]:
    """How carefully the file is written."""
    synchronous = stores.synchronous_of(case.settings)
    if synchronous in ("NORMAL", "OFF"):
        yield note(
            "durability",
            f"The url says synchronous={synchronous}.",
            "A power cut may lose the tasks that were deferred last.",
            "Leave it out of the url, unless that is what you want.",
        )
    else:
        yield right("durability", f"what was deferred survives a power cut (synchronous={synchronous})")


def trust(case: Case) -> Iterator[Finding]:
    """App Engine's headers prove something on App Engine alone."""
    on_app_engine = "GAE_APPLICATION" in case.environ
    if not case.settings["trust_app_engine_headers"]:
        yield right("deliveries", "only deliveries that are signed are taken")
    elif on_app_engine:
        yield note(
            "trust",
            "Unsigned deliveries with App Engine's headers are taken, and this is App Engine.",
            "Its front end lets nobody else send these headers.",
            "Unset trust_app_engine_headers once Google's task queue has nothing left to deliver.",
        )
    else:
        yield wrong(
            "trust",
            "Unsigned deliveries with App Engine's headers are taken, and this is not App Engine.",
            "Everybody who can reach the application can send these headers, and so run any code.",
            "Unset trust_app_engine_headers (DEFERQ_TRUST_APP_ENGINE_HEADERS): deferq signs its own deliveries.",
        )


def queues(case: Case) -> Iterator[Finding]:
    """A queue.yaml with mistakes: nothing of it is used."""
    names = () if case.app is None else case.app.queue_files
    try:
        file = queue_file(case.settings, names)
        if file is not None:
            count = len(queues_in_file(case.settings, names))
            yield right("queue-file", f"{file} declares {plural(count, 'queue')}")
    except ConfigError as error:
        yield wrong(
            "queue-file",
            str(error),
            "No worker of this application starts, and what it defers is refused.",
            "Mend it; 'deferq queues load FILE --check' says whether all is right.",
        )


CHECKS = (variables, trust, queues)
