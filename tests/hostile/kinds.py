"""Tasks that do the worst to the process they run in, each with what must come of it.

A kind runs as a plain function in a thread (`plainly`) and from a coroutine in the event loop (`in_loop`). The first
line of its docstring is what the documentation says of it. Kinds that need an event loop are coroutines themselves.
"""

from __future__ import annotations

import asyncio
import atexit
import builtins
import ctypes
import decimal
import faulthandler
import gc
import json
import locale
import logging
import os
import resource
import signal
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from deferq import PermanentTaskFailure, RetryTask, current_task, defer

RUNS = Path("runs").absolute()
_files = os.open


class End(NamedTuple):
    """How an attempt of a kind ends."""

    #: The kind of failure that is stored; empty: it succeeds.
    how: str = ""
    #: What people read, in part.
    says: str = ""

    def __str__(self) -> str:
        return f"{self.how}: {self.says}" if self.how else "succeeds"


SUCCEEDS = End()
#: What becomes of the child in which it runs. One that may end does so before or after the task has ended there.
GOES_ON, ENDS, REPLACED, EITHER, MAY_END = "goes on", "ends", "is replaced", "either", "may end, and the task with it"


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One way to be hostile."""

    name: str
    group: str
    #: One line for people.
    does: str
    run: Callable[[], Any]
    end: End
    #: Where it differs in the event loop.
    end_in_loop: End
    child: str
    child_in_loop: str
    #: "thread", "loop" or both.
    where: tuple[str, ...]
    timeout: float | None
    #: Whether it also makes sense in a worker inside the application's own process, which it must not end.
    embedded: bool
    #: What stays as it left it, for people.
    leaves: str


KINDS: dict[str, Kind] = {}


def _is_harmless(group: str, child: str) -> bool:
    """Whether a process that has other things to do survives it well."""
    return group in ("raises", "returns", "event loop") and child == GOES_ON


THREAD, LOOP = "thread", "loop"


def kind(
    group: str,
    end: End = SUCCEEDS,
    *,
    child: str = GOES_ON,
    in_loop: End | None = None,
    child_in_loop: str | None = None,
    where: tuple[str, ...] = (THREAD, LOOP),
    timeout: float | None = None,
    embedded: bool | None = None,
    leaves: str = "",
) -> Callable[[Callable[[], Any]], Callable[[], Any]]:
    """Enter a function into `KINDS`."""

    def enter(run: Callable[[], Any]) -> Callable[[], Any]:
        does = (run.__doc__ or "").strip().splitlines()[0].rstrip(".")
        KINDS[run.__name__] = Kind(
            name=run.__name__, group=group, does=does, run=run, end=end, end_in_loop=in_loop or end,
            child=child, child_in_loop=child_in_loop or child,
            where=(LOOP,) if asyncio.iscoroutinefunction(run) else where, timeout=timeout,
            embedded=(_is_harmless(group, child) if embedded is None else embedded), leaves=leaves,
        )  # fmt: skip
        return run

    return enter


#: How much some do; a short run does less.
LINES = int(os.environ.get("HOSTILE_LINES", "20000"))
HOLD_S = float(os.environ.get("HOSTILE_HOLD_S", "1"))


# ---- what is deferred


def note(word: object) -> None:
    """One line for each execution, wherever this process stands by now."""
    with suppress(OSError):
        descriptor = _files(RUNS, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, f"{current_task().id} {_PID()} {word}\n".encode())
        os.close(descriptor)


_PID = os.getpid


def plainly(name: str) -> Any:
    """Be hostile in a thread."""
    note(name)
    return KINDS[name].run()


async def in_loop(name: str) -> Any:
    """Be hostile in the event loop."""
    note(name)
    await asyncio.sleep(0)
    done = KINDS[name].run()
    return await done if asyncio.iscoroutine(done) else done


def good(pause_s: float = 0.0) -> int:
    """What runs beside the hostile ones, and must succeed."""
    note("good")
    if pause_s:
        threading.Event().wait(pause_s)
    return os.getpid()


async def good_in_loop(pause_s: float = 0.0) -> int:
    """The same as a coroutine."""
    note("good")
    await asyncio.sleep(pause_s)
    return os.getpid()


def defers() -> int:
    """A task that defers another: its process still has to be good for that."""
    note("defers")
    return defer(good).id


# ---- the end of the process


def killed(name: str) -> End:
    return End("worker lost", f"killed by {name} while this task ran")


@kind("ends its process", killed("SIGSEGV"), child=ENDS)
def segfaults() -> None:
    """Reads address 0: a segmentation fault."""
    ctypes.string_at(0)


@kind("ends its process", killed("SIGABRT"), child=ENDS)
def aborts() -> None:
    """Calls `os.abort()`."""
    os.abort()


@kind("ends its process", End("worker lost", "ended with exit code 0 while this task ran"), child=ENDS)
def exits_as_if_all_were_well() -> None:
    """Calls `os._exit(0)`."""
    os._exit(0)


@kind("ends its process", End("worker lost", "ended with exit code 0 while this task ran"), child=ENDS)
def becomes_another_program() -> None:
    """Replaces its process by another program (`os.execv`)."""
    os.execv(sys.executable, [sys.executable, "-S", "-c", "pass"])


@kind("ends its process", killed("SIGKILL"), child=ENDS)
def is_killed() -> None:
    """Is killed with SIGKILL, as by the kernel when memory runs out."""
    os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(60)


@kind("ends its process", killed("SIGQUIT"), child=ENDS)
def quits() -> None:
    """Sends SIGQUIT to its process."""
    os.kill(os.getpid(), signal.SIGQUIT)
    time.sleep(60)


@kind("ends its process", killed("SIGALRM"), child=ENDS)
def sets_an_alarm() -> None:
    """Sets an alarm for which there is no handler (`signal.setitimer`)."""
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    time.sleep(60)


@kind("ends its process", killed("SIGSEGV"), child=ENDS)
def overflows_the_stack_of_c() -> None:
    """Recurses in C until the stack is full."""
    sys.setrecursionlimit(1_000_000_000)
    libc = ctypes.CDLL(None)
    compare_type = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)

    def compare(_: object, __: object) -> int:
        libc.qsort(ctypes.create_string_buffer(8), 2, 4, callback)
        return 0

    callback = compare_type(compare)
    compare(None, None)


@kind("ends its process", End("worker lost", "while this task ran"), child=ENDS)
def ends_the_main_thread() -> None:
    """Throws SystemExit into the main thread of its process."""
    main = ctypes.c_ulong(threading.main_thread().ident or 0)
    while True:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(main, ctypes.py_object(SystemExit))
        time.sleep(0.05)


# ---- it does not end


@kind("does not end", End("timed out", "longer than its timeout"), child=ENDS, timeout=0.5)
def computes_for_ever() -> None:
    """Never ends, and has a timeout."""
    while True:
        sum(range(1000))


@kind("does not end", End("timed out", "longer than its timeout"), timeout=0.5, embedded=True)
async def awaits_for_ever() -> None:
    """Awaits what never comes, and has a timeout."""
    await asyncio.Event().wait()


@kind("does not end", End("timed out", "longer than its timeout"), child=ENDS, timeout=0.5)
async def swallows_its_cancellation() -> None:
    """Goes on when it is cancelled at its timeout."""
    while True:
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(60)


@kind("does not end", End("timed out", "longer than its timeout"), child=ENDS, timeout=0.5)
def stops_its_process() -> None:
    """Stops its process with SIGSTOP, and has a timeout."""
    os.kill(os.getpid(), signal.SIGSTOP)
    time.sleep(60)


@kind("does not end", End("timed out", "longer than its timeout"), child=ENDS, timeout=0.5)
def holds_the_lock_for_ever() -> None:
    """Holds the interpreter lock in a call of C, and has a timeout."""
    ctypes.PyDLL(None).sleep(3600)


@kind("does not end", SUCCEEDS, child=EITHER)
def holds_the_lock_for_three_leases() -> int:
    """Holds the interpreter lock for three leases, and ends."""
    return ctypes.PyDLL(None).usleep(round(HOLD_S * 1e6))


@kind("does not end", SUCCEEDS, embedded=True)
async def blocks_the_loop() -> None:
    """Sleeps in the event loop without awaiting (`time.sleep`)."""
    time.sleep(HOLD_S)


# ---- what it raises


def failed(says: str) -> End:
    return End("failed", says)


@kind("raises", failed("SystemExit: 3"))
def exits() -> NoReturn:
    """Calls `sys.exit(3)`."""
    sys.exit(3)


@kind("raises", failed("KeyboardInterrupt"))
def raises_keyboard_interrupt() -> NoReturn:
    """Raises KeyboardInterrupt."""
    raise KeyboardInterrupt


@kind("raises", failed("GeneratorExit"))
def raises_generator_exit() -> NoReturn:
    """Raises GeneratorExit."""
    raise GeneratorExit


@kind("raises", failed("CancelledError"))
def raises_cancelled() -> NoReturn:
    """Raises asyncio.CancelledError, though nobody has cancelled it."""
    raise asyncio.CancelledError


@kind("raises", failed("StopIteration"), in_loop=failed("coroutine raised StopIteration"))
def raises_stop_iteration() -> NoReturn:
    """Raises StopIteration."""
    raise StopIteration(7)


@kind("raises", failed("RecursionError: maximum recursion depth exceeded"))
def recurses() -> None:
    """Recurses without end."""
    recurses()


class OddInit(Exception):
    """Pickle cannot restore it."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__(f"{first} and {second}")


class NoReduce(Exception):
    def __reduce__(self) -> NoReturn:
        raise RuntimeError("not me")


class Mute(Exception):
    def __str__(self) -> NoReturn:
        raise SystemExit("no")

    __repr__ = __str__


class _Shy(type):
    """Classes that raise whatever they are asked."""

    def __getattribute__(cls, name: str) -> NoReturn:
        raise SystemExit(f"no {name}")


class Nameless(Exception, metaclass=_Shy):
    pass


class Liar(Exception):
    @property
    def __class__(self) -> Any:
        raise MemoryError("of no class")

    @property
    def __cause__(self) -> Any:
        raise MemoryError("of no cause")

    @property
    def __traceback__(self) -> Any:
        raise MemoryError("of no trace")


class OddText(str):
    """A text that does not behave like one."""

    def encode(self, *_: object, **__: object) -> Any:
        return 7

    def __getitem__(self, _: object) -> Any:
        return self

    def replace(self, *_: object) -> Any:
        return self

    def __len__(self) -> NoReturn:
        raise ZeroDivisionError


class OddNumber(float):
    """A number that does not behave like one."""

    def __float__(self) -> NoReturn:
        raise ZeroDivisionError("no number")


class Talks(Exception):
    def __str__(self) -> str:
        return OddText("odd")


@kind("raises", failed("OddInit: 1 and 2"))
def raises_with_odd_init() -> NoReturn:
    """Raises an exception whose `__init__` pickle cannot call."""
    raise OddInit(1, 2)


@kind("raises", failed("NoReduce: seven"))
def raises_with_reduce_that_raises() -> NoReturn:
    """Raises an exception whose `__reduce__` raises."""
    raise NoReduce("seven")


@kind("raises", failed("Mute: (its message could not be made: SystemExit)"))
def raises_without_text() -> NoReturn:
    """Raises an exception whose `__str__` and `__repr__` raise."""
    raise Mute


@kind("raises", failed("kinds.Nameless"))
def raises_without_name() -> NoReturn:
    """Raises an exception whose class does not tell its name."""
    raise Nameless


@kind("raises", failed("Liar"))
def raises_what_denies_its_class() -> NoReturn:
    """Raises an exception whose `__class__`, `__cause__` and `__traceback__` raise."""
    raise Liar


@kind("raises", failed("Talks: "))
def raises_with_odd_text() -> NoReturn:
    """Raises an exception whose text is a subclass of str that lies."""
    raise Talks


@kind("raises", failed("[... cut ...]"))
def raises_huge_message() -> NoReturn:
    """Raises an exception with a message of 50 MB."""
    raise ValueError("x" * 50_000_000)


@kind("raises", failed("ValueError: a\\x00b\\ud800c"))
def raises_lone_surrogates() -> NoReturn:
    """Raises an exception with lone surrogates and a NUL in its message."""
    raise ValueError("a\0b\ud800c")


@kind("raises", failed("two (2 sub-exceptions)"))
def raises_a_group() -> NoReturn:
    """Raises an exception group."""
    raise BaseExceptionGroup("two", [ValueError("first"), SystemExit("second")])


@kind("raises", failed("ValueError: last"))
def raises_a_long_chain() -> NoReturn:
    """Raises an exception with 100,000 causes."""
    error: BaseException = ValueError("first")
    for _ in range(100_000):
        link = ValueError("last")
        link.__cause__ = error
        error = link
    raise error


@kind("raises", failed("raises_a_local_class.<locals>.Local: here"))
def raises_a_local_class() -> NoReturn:
    """Raises an exception whose class is local to a function."""

    class Local(Exception):
        pass

    raise Local("here")


@kind("raises", End("permanent", "no such order"))
def fails_for_good() -> NoReturn:
    """Raises PermanentTaskFailure."""
    raise PermanentTaskFailure("no such order")


@kind("raises", failed("after must be a number of seconds"))
def asks_for_an_odd_time() -> NoReturn:
    """Raises RetryTask with a number that cannot be converted."""
    odd = RetryTask(after=1)
    odd.after_s = OddNumber(0.01)
    raise odd


# ---- what it returns


def unstorable(says: str) -> End:
    return End("result cannot be stored", says)


@kind("returns", unstorable("NotSerializable"))
def returns_a_lock() -> Any:
    """Returns what cannot be pickled."""
    return threading.Lock()


@kind("returns", unstorable("PayloadTooLarge"))
def returns_too_much() -> bytes:
    """Returns 64 MiB."""
    return bytes(64 * 1024 * 1024)


class _ExitsInReduce:
    def __reduce__(self) -> NoReturn:
        sys.exit("pickled")


@kind("returns", unstorable(""))
def returns_what_exits_when_pickled() -> Any:
    """Returns an object whose `__reduce__` calls `sys.exit`."""
    return _ExitsInReduce()


@kind("returns", killed("SIGKILL"), child=ENDS)
def returns_what_kills_when_pickled() -> Any:
    """Returns an object that kills its process while it is pickled."""
    return _KillsInReduce()


class _KillsInReduce:
    def __reduce__(self) -> NoReturn:
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


class _ShyResult(metaclass=_Shy):
    pass


@kind("returns", failed("SystemExit"))
def returns_what_cannot_be_looked_at() -> Any:
    """Returns an object whose class raises whatever it is asked."""
    return _ShyResult()


# ---- forks and threads


@kind("forks", SUCCEEDS, embedded=True)
def forks_and_the_copy_comes_back() -> None:
    """Forks, and the copy returns like the original."""
    pid = os.fork()
    if pid:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


@kind("forks", SUCCEEDS, embedded=True)
def forks_and_the_copy_exits() -> None:
    """Forks, and the copy calls `sys.exit(0)`."""
    pid = os.fork()
    if pid == 0:
        sys.exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 1


@kind("forks", SUCCEEDS, embedded=True)
def forks_and_the_copy_ends() -> None:
    """Forks, and the copy calls `os._exit(0)`."""
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)


@kind("forks", SUCCEEDS, embedded=True)
async def forks_and_the_copy_awaits() -> None:
    """Forks, and the copy goes on in its copy of the event loop."""
    pid = os.fork()
    if pid == 0:
        await asyncio.sleep(0.05)
        note("in the copy")
    else:
        code = await asyncio.to_thread(os.waitpid, pid, 0)
        assert os.waitstatus_to_exitcode(code[1]) == 1


@kind("forks", SUCCEEDS, leaves="The thread runs on until it ends, or its process does.")
def leaves_a_daemon_thread() -> None:
    """Leaves a daemon thread behind."""
    threading.Thread(target=time.sleep, args=(3600,), daemon=True).start()


@kind("forks", SUCCEEDS, leaves="The thread runs on until it ends, or its process does.")
def leaves_a_thread() -> None:
    """Leaves a thread behind that is no daemon."""
    threading.Thread(target=time.sleep, args=(3600,)).start()


@kind("forks", SUCCEEDS, embedded=True)
async def leaves_a_task_that_exits() -> None:
    """Leaves an asyncio task behind that raises SystemExit."""

    async def exits_later() -> None:
        sys.exit("later")

    _left.append(asyncio.create_task(exits_later()))


_left: list[Any] = []


@kind("forks", SUCCEEDS, child=MAY_END)
def throws_into_all_threads() -> None:
    """Throws an exception into every other thread of its process."""
    own = threading.get_ident()
    for ident in list(sys._current_frames()):
        if ident not in (own, threading.main_thread().ident):
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(ident), ctypes.py_object(SystemExit))


# ---- descriptors


@kind("descriptors", SUCCEEDS, leaves="They stay closed.")
def closes_the_standard_streams() -> None:
    """Closes the descriptors 0, 1 and 2."""
    for number in (0, 1, 2):
        with suppress(OSError):
            os.close(number)


@kind(
    "descriptors", SUCCEEDS, in_loop=failed("EventLoopLost: The event loop ended while this task ran"), child=REPLACED
)
def closes_descriptors() -> None:
    """Closes the descriptors 0 to 20."""
    os.closerange(0, 21)


@kind("descriptors", End("worker lost", "lost its connection to its parent while this task ran"), child=ENDS)
def closes_all_descriptors() -> None:
    """Closes all descriptors, also those that are not its own."""
    os.closerange(0, 65_536)


@kind("descriptors", End("worker lost", "lost its connection to its parent while this task ran"), child=ENDS)
def writes_into_all_sockets() -> None:
    """Writes rubbish into every socket of its process."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                os.write(int(name), b"rubbish")
    time.sleep(0.05)  # the rest is noticed when something more is said


@kind("descriptors", End("failed", "Too many open files"), child=REPLACED)
def takes_all_descriptors() -> None:
    """Allows its process no more descriptors (`RLIMIT_NOFILE` 0)."""
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    os.open(os.devnull, os.O_RDONLY)


@kind("descriptors", SUCCEEDS, leaves="What is printed goes nowhere, or raises.")
def closes_stdout() -> None:
    """Closes `sys.stdout` and `sys.stderr`."""
    sys.stdout.close()
    sys.stderr.close()


class _Raises:
    def __getattr__(self, name: str) -> NoReturn:
        raise ValueError(name)


@kind("descriptors", SUCCEEDS, leaves="What is printed goes nowhere, or raises.")
def replaces_stdout() -> None:
    """Replaces `sys.stdout` and `sys.stderr` by objects that raise."""
    sys.stdout = sys.stderr = _Raises()  # type: ignore[assignment]


# ---- memory


@kind("memory", failed("MemoryError"), child=REPLACED)
def takes_all_memory() -> None:
    """Limits its memory (`RLIMIT_AS`) and takes more."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + 30_000_000, resource.getrlimit(resource.RLIMIT_AS)[1]))
    bytearray(1_000_000_000)


@kind("memory", failed("MemoryError"))
def asks_for_too_much_memory() -> None:
    """Asks for more memory than there can be."""
    bytearray(1 << 60)


@kind("memory", SUCCEEDS, leaves="It stays off.")
def disables_the_garbage_collector() -> None:
    """Calls `gc.disable()`."""
    gc.disable()


# ---- the state of its process


@kind("state", SUCCEEDS, leaves="Stays changed.")
def changes_directory() -> None:
    """Changes the current directory."""
    os.chdir("/")


@kind("state", SUCCEEDS, leaves="Stays changed.")
def removes_its_directory() -> None:
    """Changes to a directory and removes it."""
    folder = tempfile.mkdtemp()
    os.chdir(folder)
    os.rmdir(folder)


@kind("state", SUCCEEDS, leaves="Stays changed.")
def changes_umask() -> None:
    """Sets the umask to 0o777."""
    os.umask(0o777)


@kind("state", SUCCEEDS, leaves="Stays changed.")
def changes_the_locale() -> None:
    """Sets another locale."""
    with suppress(locale.Error):
        locale.setlocale(locale.LC_ALL, "C.UTF-8")
    locale.setlocale(locale.LC_ALL, "C")


@kind("state", SUCCEEDS, leaves="Stays changed.")
def clears_the_environment() -> None:
    """Clears the environment."""
    os.environ.clear()


@kind("state", SUCCEEDS, leaves="Stays changed.")
def changes_priority() -> None:
    """Lowers the priority of its process (`os.nice`)."""
    os.nice(5)


@kind("state", SUCCEEDS, leaves="Stays changed: a signal to the process group of the worker does not reach it.")
def leaves_the_process_group() -> None:
    """Leaves the process group and the session (`os.setsid`)."""
    with suppress(PermissionError):  # it leads a session already, by another attempt
        os.setsid()


@kind("state", failed("signal only works in main thread"))
def sets_a_handler() -> None:
    """Sets a signal handler: only the main thread may."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


@kind("state", SUCCEEDS, leaves="Stay ignored. The worker needs none of them.")
def ignores_signals() -> None:
    """Ignores SIGTERM, SIGINT, SIGHUP, SIGUSR1 and SIGCHLD, by way of C."""
    ignore = ctypes.CDLL(None).signal
    ignore.argtypes = ctypes.c_int, ctypes.c_void_p
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD):
        ignore(number, 1)


@kind("state", SUCCEEDS)
def asks_itself_to_end() -> None:
    """Sends SIGTERM, SIGINT and SIGHUP to its own process, which leaves them to its parent."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        os.kill(os.getpid(), number)
    time.sleep(0.05)


@kind("state", SUCCEEDS, leaves="Stays blocked in its thread.")
def blocks_signals() -> None:
    """Blocks all signals in its thread."""
    signal.pthread_sigmask(signal.SIG_BLOCK, range(1, signal.NSIG))


@kind("state", SUCCEEDS, leaves="Stays off: a crash of this process prints no stacks.")
def disables_faulthandler() -> None:
    """Calls `faulthandler.disable()`."""
    faulthandler.disable()
    faulthandler.unregister(signal.SIGUSR1)


# ---- the state of Python


def _broken(*_: object, **__: object) -> NoReturn:
    raise RuntimeError("this was patched")


@kind("python", SUCCEEDS, leaves="Stays patched.")
def patches_functions() -> None:
    """Patches `time.time`, `time.sleep`, `threading.Thread`, `open` and `json.dumps` so that they raise."""
    for module, name in (
        (time, "time"), (time, "sleep"), (threading, "Thread"), (builtins, "open"), (json, "dumps"),
        (traceback, "format_list"),
    ):  # fmt: skip
        setattr(module, name, _broken)


@kind("python", SUCCEEDS, child=REPLACED)
def lowers_the_recursion_limit() -> None:
    """Calls `sys.setrecursionlimit(50)`."""
    sys.setrecursionlimit(50)


@kind("python", SUCCEEDS, leaves="Stays changed.", child=EITHER)
def lengthens_the_switch_interval() -> None:
    """Calls `sys.setswitchinterval(1000)`."""
    sys.setswitchinterval(1000)


@kind("python", SUCCEEDS, child=EITHER)
def empties_the_path() -> None:
    """Empties `sys.path`."""
    sys.path.clear()


@kind("python", SUCCEEDS, child=REPLACED)
def empties_the_modules() -> None:
    """Empties `sys.modules`."""
    sys.modules.clear()


@kind("python", SUCCEEDS)
def registers_an_exit_that_raises() -> None:
    """Registers a function with `atexit` that raises."""
    atexit.register(_broken)


@kind("python", SUCCEEDS, leaves="Nothing: each attempt has a context of its own.")
def changes_the_decimal_context() -> None:
    """Changes the context of `decimal`."""
    decimal.getcontext().prec = 1


@kind("python", SUCCEEDS, leaves="Stay errors.")
def makes_warnings_errors() -> None:
    """Makes every warning an error."""
    warnings.simplefilter("error")


@kind("python", SUCCEEDS, leaves="Stays disabled.")
def disables_logging() -> None:
    """Disables logging, and closes its handlers."""
    logging.disable()
    logging.shutdown()
    logging.getLogger().handlers.clear()


@kind("python", failed("this was patched"))
def traces() -> None:
    """Sets a trace function that raises (`sys.settrace`)."""
    sys.settrace(_broken)
    threading.settrace(_broken)


@kind("python", SUCCEEDS)
def logs_without_end() -> None:
    """Logs a million lines."""
    log = logging.getLogger("hostile")
    in_loop = threading.current_thread().name == "deferq-loop"
    for number in range(LINES // 10 if in_loop else LINES):  # whoever reads them keeps them all
        log.warning("line %d", number)


# ---- the event loop


@kind("event loop", SUCCEEDS)
async def stops_the_loop() -> None:
    """Stops the event loop it runs in."""
    asyncio.get_running_loop().stop()
    await asyncio.sleep(0)


@kind("event loop", failed("Cannot close a running event loop"))
async def closes_the_loop() -> None:
    """Closes the event loop it runs in, which asyncio refuses."""
    asyncio.get_running_loop().close()


@kind("event loop", failed("EventLoopLost"), child=REPLACED, embedded=True)
async def closes_the_loop_by_force() -> None:
    """Closes the event loop it runs in, and makes asyncio do it."""
    loop = asyncio.get_running_loop()
    loop.is_running = lambda: False  # type: ignore[method-assign]
    loop.close()
    del loop.is_running
    await asyncio.sleep(60)


@kind("event loop", failed("EventLoopLost"), child=REPLACED)
async def closes_the_descriptors_of_the_loop() -> None:
    """Closes the descriptors of the event loop it runs in."""
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if "eventpoll" in os.readlink(f"/proc/self/fd/{name}"):
                os.close(int(name))
    await asyncio.sleep(60)


@kind("event loop", SUCCEEDS)
async def cancels_all_others() -> None:
    """Cancels all other tasks of the event loop."""
    for other in asyncio.all_tasks() - {asyncio.current_task()}:
        other.cancel()


@kind("event loop", failed("asyncio.run() cannot be called from a running event loop"))
async def runs_a_loop_inside() -> None:
    """Calls `asyncio.run` inside a coroutine."""
    inner = asyncio.sleep(0)
    try:
        asyncio.run(inner)
    finally:
        inner.close()


@kind("event loop", SUCCEEDS)
async def breaks_the_task_factory() -> None:
    """Installs a task factory and an exception handler that raise."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(_broken)  # type: ignore[arg-type]
    loop.set_exception_handler(_broken)
