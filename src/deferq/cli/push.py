"""Send tasks to a web application over HTTP until a signal says stop.

The application is wrapped with wrap_wsgi or wrap_asgi and has the same secrets: its handler runs what is pushed. Tasks
with an url of their own are sent to that path. This process imports nothing of the application, and one task is one
request.

Without --route every task goes to --to. With it, tasks of a named route go to the base of that route, those without a
route to --to, if it is given, and others stay where they are.

A base that cannot be reached, or answers 429 or 503, is left alone for a while, and Retry-After is obeyed; no attempt
is spent. Redirects are not followed. A base may lie in a private network. What leads to link-local addresses or to the
metadata of a cloud, or suddenly from a public to a private address, is refused, unless --allow-host names it.

SIGTERM or SIGINT (Ctrl-C): no new tasks; answers are waited for within the drain time. What is not answered then is let
go: its handler goes on with it, and if the outcome does not reach the store, it runs again. A second signal ends the
process at once, with exit code 143 or 130.
"""

from __future__ import annotations

import argparse
import os
import ssl
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from deferq import stores
from deferq.app import Deferq
from deferq.cli.arguments import EXIT_FAILED, EXIT_OK, CommandError, add_url, count, seconds
from deferq.http.push.bases import Base, parse_base
from deferq.options import check_route
from deferq.runtime.config import WorkerConfig

if TYPE_CHECKING:
    from deferq.http.push.pusher import Manner, Pusher

EPILOG = (
    "Exit codes: 0 stopped as asked, or done (--once); 1 it failed, or a base was in trouble (--once); 2 wrong usage or"
    " configuration, or the store cannot be used; 130 or 143 ended by a second signal."
)
CONCURRENCY = 64
DEADLINE_S = 600.0
#: Threads that carry requests must not keep the one that has the store's write lock waiting, as others wait for that.
SWITCH_S = 0.0005
#: It renews leases, and no task can keep it from that: so they are short.
LEASE_S = 30.0

#: The routes that go to each base; None: every task.
Plan = dict[Base, tuple[str | None, ...] | None]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Say what the verb takes."""
    add_url(parser)
    parser.add_argument("--app", help="import this application first, and use the store and secrets it configures")
    parser.add_argument("--to", metavar="BASE", help="where the application is, such as http://127.0.0.1:8000")
    parser.add_argument(
        "--route", action="append", default=[], metavar="NAME=BASE", help="where tasks of a route go; may be repeated"
    )
    parser.add_argument(
        "--queue", action="append", metavar="Q", dest="queues", help="serve this queue; may be repeated"
    )
    parser.add_argument(
        "--concurrency", type=count, default=CONCURRENCY, metavar="N", help="requests at a time and base; by default 64"
    )
    parser.add_argument(
        "--deadline", type=seconds, default=DEADLINE_S, metavar="S", help="how long a handler may take; by default 600"
    )
    parser.add_argument("--drain-s", type=seconds, metavar="S", help="how long to wait for answers when stopping")
    parser.add_argument("--ca", metavar="FILE", help="trust these certificates, in place of the system's")
    parser.add_argument(
        "--allow-host", action="append", default=[], metavar="HOST", help="push there whatever it leads to"
    )
    parser.add_argument("--client", choices=("aiohttp", "threads"), help="by default aiohttp, if it is installed")
    parser.add_argument("--once", action="store_true", help="push what is due now, then exit")
    parser.add_argument("-v", "--verbose", action="store_true", help="a line for each task that starts or succeeds")


def run(args: argparse.Namespace) -> int:
    """Push until stopped."""
    from deferq.cli.loading import open_store
    from deferq.cli.stopping import Stopping
    from deferq.cli.streams import log_to_stderr
    from deferq.http.push.pusher import Pushers

    log_to_stderr()
    sys.setswitchinterval(SWITCH_S)
    plan = planned(args.to, args.route, args.allow_host)
    with open_store(args, must_exist=False) as deferq:
        if deferq.settings["url"] is not None and deferq.settings["url"].startswith("memory:"):
            raise CommandError("The store memory:// lives in one process, so nobody else could put tasks into it.")
        pushers = Pushers([_pusher(args, deferq, base, routes) for base, routes in plan.items()])
        Stopping().watch_over(pushers)
        _print_banner(args, deferq, plan)
        pushers.run()
        return EXIT_FAILED if any(one.gave_up for one in pushers.pushers) else EXIT_OK


def planned(to: str | None, routes: Sequence[str], allowed_hosts: Sequence[str] = ()) -> Plan:
    """Which tasks go where. Raises CommandError, ConfigError or InvalidName."""
    if to is None and not routes:
        raise CommandError("Where to? Give --to http://127.0.0.1:8000, or --route NAME=BASE.")
    hosts = {host.strip("[]").lower() for host in allowed_hosts}
    if not routes and to is not None:
        return {parse_base(to, hosts): None}
    served: dict[Base, tuple[str | None, ...]] = {parse_base(to, hosts): (None,)} if to is not None else {}
    names = set()
    for route in routes:
        name, separator, url = route.partition("=")
        if not separator:
            raise CommandError("--route takes NAME=BASE, such as eu=http://eu.example:8000.")
        if check_route(name) in names:
            raise CommandError(f"--route {name} is given twice, and a task can go to one base only.")
        names.add(name)
        base = parse_base(url, hosts)
        served[base] = (*served.get(base, ()), name)
    return dict(served)


def _pusher(args: argparse.Namespace, deferq: Deferq, base: Base, routes: tuple[str | None, ...] | None) -> Pusher:
    from deferq.cli.narrating import Narrator
    from deferq.cli.notifying import service_listeners
    from deferq.http.push.addresses import Guard
    from deferq.http.push.pusher import Pusher
    from deferq.runtime.logs import LogListener

    config = WorkerConfig(
        threads=args.concurrency,
        lease_s=LEASE_S,
        drain_s=deferq.settings["drain_s"] if args.drain_s is None else args.drain_s,
        queues=tuple(args.queues) if args.queues else None,
        routes=routes,
        delivers=True,
        until_idle=args.once,
    )
    return Pusher(
        deferq.engine,
        deferq.codec,
        Guard(base.host, base.port, allowed=base.allowed),
        base,
        config,
        [Narrator() if args.verbose else LogListener(), *service_listeners(), *deferq.listeners],
        manner=_manner(args),
        retention=stores.retention_of(deferq.settings),
        queues=deferq.queues,
    )


def _manner(args: argparse.Namespace) -> Manner:
    from deferq.http.push.pusher import Manner, has_aiohttp

    if args.client == "aiohttp" and not has_aiohttp():
        raise CommandError("--client aiohttp: it is not installed. Run: pip install 'deferq[push]'")
    if args.deadline <= 0:
        raise CommandError("--deadline: a handler needs some time; give more than 0 seconds.")
    return Manner(args.deadline, args.client, None if args.ca is None else _trusting(args.ca))


def _trusting(file: str) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=file)
    except (OSError, ssl.SSLError) as error:
        raise CommandError(f"--ca {file}: no certificates can be read from it ({error}).") from error


def _print_banner(args: argparse.Namespace, deferq: Deferq, plan: Plan) -> None:
    from deferq.cli.output import printable
    from deferq.cli.version import version
    from deferq.http.push.pusher import default_client

    fields = [("store", deferq.engine.url), ("queues", ", ".join(args.queues) if args.queues else "all")]
    fields += [("to", f"{base}  {_in_words(routes)}") for base, routes in plan.items()]
    fields += [("requests", f"{args.concurrency} at a time, by {args.client or default_client()}")]
    lines = [f"deferq {version()} push (pid {os.getpid()})", *(f"  {name:<8} {printable(v)}" for name, v in fields)]
    print("\n".join(lines), file=sys.stderr, flush=True)


def _in_words(routes: tuple[str | None, ...] | None) -> str:
    if routes is None:
        return "every task"
    named = [f"route {route}" for route in routes if route is not None]
    return ", ".join([*(["tasks without a route"] if None in routes else []), *named])
