"""`deferq demo`: a small web application defers work of every kind, and every task is accounted for.

`kinds.py` says what is deferred and how it must end, `visitor.py` asks the web application in `web.py` for it over
HTTP, the worker beside that application runs `tasks.py`, and `accounts.py` compares three books that know nothing of
each other: what the application answered, what the store holds, and what the tasks themselves wrote down.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from tempfile import mkdtemp

from deferq.demo.accounts import Accounts
from deferq.demo.interruption import Interruption
from deferq.demo.kinds import KINDS
from deferq.demo.progress import Progress
from deferq.demo.server import ShopServer
from deferq.demo.summary import print_differences, print_missing, print_opening, print_stay, print_summary
from deferq.demo.visitor import Visitors

#: Seconds after which the demo says what is missing instead of waiting longer.
GUARD_S = 55.0
#: Seconds between two looks at the store.
LOOK_S = 0.05
OK, DIFFERENT = 0, 1


def run_demo(stay: bool = False) -> int:
    """Run the demo in a temporary folder of its own and return the exit code.

    0: every task is accounted for; 1: not, and the folder is kept; 130 or 143: ended by SIGINT or SIGTERM.
    `stay` keeps the web application and its worker running until Ctrl-C.
    """
    with Interruption() as interruption:
        folder = Path(mkdtemp(prefix="deferq-demo-"))  # mode 0700
        code = DIFFERENT
        try:
            code = _run_in(folder, interruption, stay)
        finally:
            if code == DIFFERENT:
                print(f"demo: the store and the ledger are kept in {folder}", flush=True)
            else:
                shutil.rmtree(folder)
    return code


def _run_in(folder: Path, interruption: Interruption, stay: bool) -> int:
    with ShopServer(folder) as server:
        return _demonstrate(server, interruption, stay)


def _demonstrate(server: ShopServer, interruption: Interruption, stay: bool) -> int:
    began = time.monotonic()
    print_opening(server)
    visitors = Visitors(server.port, KINDS)
    visitors.start()
    in_time = _watch(server, visitors, interruption, began + GUARD_S)
    if interruption.signal is not None:
        print(f"demo: ended early by {interruption.signal.name}; its folder is removed", flush=True)
        return interruption.exit_code
    accounts = Accounts.of(visitors.answers, server.shop.deferq, server.ledger)
    if not in_time:
        print_missing(accounts, GUARD_S)
    if not in_time or accounts.differences:
        print_differences(accounts)
        return DIFFERENT
    print_summary(accounts, time.monotonic() - began)
    return _stay(server, interruption) if stay else OK


def _watch(server: ShopServer, visitors: Visitors, interruption: Interruption, until: float) -> bool:
    """Show the progress until everything has ended (True), a signal comes or the time is over (False)."""
    with Progress() as progress:
        while interruption.signal is None and time.monotonic() < until:
            visited = visitors.done  # asked before the store, so that nothing can be deferred between the two
            look = server.shop.look()
            progress.show(visitors, look)
            if visited and look.alive == 0:
                return True
            time.sleep(LOOK_S)
    return False


def _stay(server: ShopServer, interruption: Interruption) -> int:
    print_stay(server)
    while interruption.signal is None:
        time.sleep(LOOK_S)
    print("demo: stopped", flush=True)
    return OK
