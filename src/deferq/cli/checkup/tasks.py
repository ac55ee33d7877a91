"""Tasks that wait for something that does not come: a function, a key, a deliverer."""

from __future__ import annotations

import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from deferq.cli.checkup.finding import Case, Finding, note, right, wrong
from deferq.cli.output import plural
from deferq.cli.times import US, duration
from deferq.codec.signing import HTTP, envelope_head
from deferq.codec.targets import find
from deferq.engines.sqlite.view import Group
from deferq.errors import PayloadError, TargetNotAllowed, TargetUnknown, TaskNotFound
from deferq.registry import registry
from deferq.suggest import did_you_mean

#: So many targets are tried, and so many are named.
TARGETS_MAX, NAMED_MAX = 200, 10
#: A ready task with an url of its own that has waited so long has nobody to deliver it.
UNDELIVERED_S = 30.0
#: So many tasks that died in a day are worth a look.
DEAD_MIN, DEAD_US = 10, 86_400 * US
#: Larger payloads are not read to verify what they call.
VERIFIED_BYTES_MAX = 1024 * 1024
#: Every codec but that of requests, which call nothing.
CODECS = frozenset(range(256)) - {HTTP}
_SKEW = (
    "Tasks of an older or newer release look like this: start its workers, or add the old name to `aliases` of the"
    " function. They are tried again by themselves."
)


# ---- what nobody can run


def parked(case: Case) -> Iterator[Finding]:
    """Workers have tried them, and could not."""
    groups = case.store.parked()
    for group in groups[:NAMED_MAX]:
        one = group.number == 1
        yield wrong(
            "parked",
            f"{plural(group.number, 'task')} that {'calls' if one else 'call'} {group.target}"
            f" {'is' if one else 'are'} parked: {_why_parked(group.why)}",
            "Parked tasks wait, at most ten minutes from one try to the next, and never die of it.",
            _what_to_do(group, case),
        )
    if len(groups) > NAMED_MAX:
        yield wrong("parked", f"Tasks with {len(groups) - NAMED_MAX} more targets are parked.", "", _SKEW)
    if not groups:
        yield right("parked", "no task is parked")


def _why_parked(error_type: str | None) -> str:
    match (error_type or "").rpartition(".")[2]:
        case "UnknownKey":
            return "no worker has the key that they are signed with."
        case "TargetNotAllowed":
            return "the application's setting `allow` does not let it be called."
        case "UnsupportedEnvelope":
            return "a newer deferq has written them."
        case _:
            return "no worker that tried knows what they call."


def _what_to_do(group: Group, case: Case) -> str:
    match (group.why or "").rpartition(".")[2]:
        case "UnknownKey":
            return "Add the former secret behind the new one in `secrets`, and restart the workers."
        case "TargetNotAllowed":
            return "Add the prefix of its module to `allow`, or cancel them if they are not yours."
        case "UnsupportedEnvelope":
            return "Upgrade the workers."
        case _:
            hint = did_you_mean(group.target, _known_targets(case) - {group.target}).lstrip()
            return f"{hint} {_SKEW}" if hint else _SKEW


def _known_targets(case: Case) -> set[str]:
    """What has run lately, what waits and is not parked, and what the application declares."""
    now = case.store.now()
    known = {total.target for total in case.store.totals(now - 3600 * US, now)}
    waiting = {group.target for group in case.store.waiting_targets()} - {one.target for one in case.store.parked()}
    return known | waiting | set(registry.declared())


def targets(case: Case) -> Iterator[Finding]:
    """With the application at hand: what waits, and whether it is found here. A signature is checked before."""
    if case.app is None:
        return
    waiting = case.store.waiting_targets()
    missing = [(group, error) for group in waiting[:TARGETS_MAX] if (error := _not_found(case, group)) is not None]
    for group, error in missing[:NAMED_MAX]:
        foreign = isinstance(error, TargetNotAllowed)
        hint = "" if foreign else did_you_mean(group.target, _near_names(group.target, waiting)).lstrip()
        yield wrong(
            "not-allowed" if foreign else "unknown-target",
            f"{plural(group.number, 'waiting task')} {'calls' if group.number == 1 else 'call'} {group.target}, which"
            f" {'its setting `allow` forbids' if foreign else 'this application does not have'}.",
            "A worker of this application parks such tasks.",
            "Add the prefix of its module to `allow`, or cancel them." if foreign else f"{hint} {_SKEW}".strip(),
        )
    if waiting and not missing:
        yield right("targets", f"the application has all that waiting tasks call ({plural(len(waiting), 'target')})")


def _not_found(case: Case, group: Group) -> Exception | None:
    """Why the application cannot call it. What nobody of us has signed is not looked for: that would import it."""
    if case.keyring is None:
        return None
    try:
        (task,) = case.store.get([group.last])
        if task.payload_bytes > VERIFIED_BYTES_MAX:
            return None
        payload = case.store.details(task.id).payload or b""
        case.keyring.open("payload", task.id, task.target, payload, url=task.url, codecs=CODECS)
        find(task.target, registry, case.settings["allow"])
    except (TargetUnknown, TargetNotAllowed) as error:
        return error
    except (PayloadError, TaskNotFound, ValueError):  # told elsewhere, or settled meanwhile
        return None
    return None


def _near_names(target: str, waiting: Iterable[Group]) -> set[str]:
    """Functions of the module that was meant, what is declared, and what else waits."""
    module = sys.modules.get(target.partition(":")[0])
    here = {f"{module.__name__}:{name}" for name in dir(module) if not name.startswith("_")} if module else set()
    return (here | set(registry.declared()) | {one.target for one in waiting}) - {target}


# ---- what nobody can verify


def payloads(case: Case) -> Iterator[Finding]:
    """What the first bytes of envelopes tell: whether they are ours, and which key has signed them."""
    keys: Counter[str] = Counter()
    no_envelopes = newer = 0
    samples: dict[str, int] = {}
    for head, count, task_id in case.store.heads():
        match envelope_head(head):
            case None:
                no_envelopes += count
                samples[""] = task_id
            case None, _:
                newer += count
            case _, key:
                keys[key] += count
    if no_envelopes:
        yield wrong(
            "payload",
            f"{plural(no_envelopes, 'waiting task')} {'has' if no_envelopes == 1 else 'have'} a payload that is no"
            f" envelope of deferq (one of them: {samples['']}).",
            "The file was changed by something else, or is damaged. Such tasks die as corrupt and run nothing.",
            "Look for damage with 'deferq doctor --deep', and find out what else writes to the store.",
        )
    if newer:
        yield wrong(
            "payload",
            f"{plural(newer, 'waiting task')} {'was' if newer == 1 else 'were'} written by a newer deferq.",
            "This release cannot read them; its workers park them.",
            "Upgrade deferq here, or let the newer workers run them.",
        )
    yield from _keys(case, keys)


def _keys(case: Case, keys: Counter[str]) -> Iterator[Finding]:
    ours = set(case.keyring.key_ids) if case.keyring is not None else set()
    strange = {key: count for key, count in keys.items() if key not in ours}
    sure = case.app is not None or case.settings["secrets"] is not None
    for key, count in strange.items():
        text = (
            f"{plural(count, 'waiting task')} {'is' if count == 1 else 'are'} signed with key {key}, which"
            f" {'this configuration does not have' if ours else 'is not here'}"
            f" (here: {', '.join(sorted(ours)) or 'none'})."
        )
        why = "Without its secret they cannot be verified; workers park them."
        if sure:
            yield wrong(
                "unknown-key",
                text,
                why,
                "Add the former secret behind the new one in `secrets`, and restart the workers.",
            )
        else:
            yield note(
                "unknown-key", text, why, "Does the application set `secrets` in code? Name it: deferq doctor APP."
            )
    if keys and not strange:
        yield right("keys", f"this configuration has every key that waiting tasks are signed with ({', '.join(keys)})")


# ---- what nobody delivers, and what has died


def own_urls(case: Case) -> Iterator[Finding]:
    """Tasks with an url of their own are not called, but delivered to that path of the application."""
    now = case.store.now()
    waiting = case.store.own_urls(now - int(UNDELIVERED_S * US))
    for route, held in waiting:
        routed = f" and route {route}" if route else ""
        text = (
            f"{plural(held.number, 'task')} of queue {held.queue} with an own url{routed}"
            f" {'waits' if held.number == 1 else 'wait'} to be delivered, the first for"
            f" {duration((now - held.since) / US)}."
        )
        yield _late(text, held.queue) if _is_delivered(case, held.queue, route) else _undelivered(text, held.queue)
    if not waiting:
        yield right("urls", "no task waits to be delivered to an url of its own")


def _is_delivered(case: Case, queue: str, route: str | None) -> bool:
    return any(worker.delivers and worker.takes(route) for worker in case.sight.serving(queue))


def _undelivered(text: str, queue: str) -> Finding:
    return wrong(
        "undelivered",
        text,
        "Such a task is delivered to a path of the web application, and only a worker that has the application, or"
        " pushes to it, can do so; no such worker serves the queue and route, and others leave it ready.",
        "Start one: a worker inside the web application, 'deferq worker APP' with the application, or 'deferq push'.",
        queue=queue,
    )


def _late(text: str, queue: str) -> Finding:
    return note(
        "undelivered",
        text,
        "A worker that delivers serves the queue, and does not keep up, or the application asks it to wait.",
        "More threads or workers that deliver; 'deferq status' shows what they do.",
        queue=queue,
    )


def suspects(case: Case) -> Iterator[Finding]:
    """Their workers have died twice."""
    groups = case.store.suspects()
    for group in groups[:NAMED_MAX]:
        yield note(
            "quarantine",
            f"{plural(group.number, 'task')} that {'calls' if group.number == 1 else 'call'} {group.target}"
            f" {'runs' if group.number == 1 else 'run'} in quarantine: the workers of such a task have died twice.",
            "It runs alone, in a process of its own, and hurts no other task there.",
            f"'deferq tasks show {group.last}' tells how its process ended.",
        )
    if not groups:
        yield right("quarantine", "no waiting task is suspected of killing its worker")


def dead(case: Case) -> Iterator[Finding]:
    """Dead tasks that pile up."""
    groups = case.store.dead_lately(case.store.now() - DEAD_US)
    total = sum(group.number for group in groups)
    if total < DEAD_MIN:
        yield right(
            "dead", f"{plural(total, 'task')} died in the last day" if total else "no task died in the last day"
        )
        return
    by_target: dict[str, list[str]] = defaultdict(list)
    for group in groups[:NAMED_MAX]:
        by_target[group.target].append(f"{group.number:,} {group.why or 'for no stated reason'}")
    listed = "; ".join(f"{target} ({', '.join(reasons)})" for target, reasons in by_target.items())
    yield note(
        "dead",
        f"{plural(total, 'task')} died in the last day: {listed}.",
        "A dead task is not tried again; it is kept for 30 days, unless the settings say otherwise.",
        "'deferq tasks ls --state dead' lists them. Mend the cause, then: deferq tasks requeue --all-dead",
    )


CHECKS = (parked, targets, payloads, own_urls, suspects, dead)
