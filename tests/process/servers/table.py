"""The servers. Another one is another entry here, and a section with its command on the page."""

from __future__ import annotations

from signal import SIGINT, SIGTERM, Signals
from typing import NamedTuple


class Server(NamedTuple):
    """One way to serve an application. The command stands on the page as it is, with port 8000."""

    name: str
    #: Folder of the application it serves.
    site: str
    command: str
    #: How many processes serve.
    processes: int = 2
    #: Whether the process that is started has others do the work.
    parent: bool = True
    #: Signals after which it ends in an orderly way, and its exit codes. Ctrl-C reaches children, too.
    stops: tuple[tuple[Signals, int], ...] = ((SIGTERM, 0), (SIGINT, 0))
    #: What is touched to have it reload.
    source: str | None = None
    #: Whether it runs in `make test` as well.
    quick: bool = False


GUNICORN = [
    Server("gunicorn", "wsgi", "gunicorn shop:app --workers 2 --bind 127.0.0.1:8000"),
    # After Ctrl-C its workers may be blocked in their own signal handler until gunicorn kills them.
    Server(
        "gunicorn with threads",
        "wsgi",
        "gunicorn shop:app --workers 2 --threads 4 --bind 127.0.0.1:8000",
        stops=((SIGTERM, 0),),
    ),
    Server("gunicorn preloading", "wsgi", "gunicorn shop:app --workers 2 --preload --bind 127.0.0.1:8000", quick=True),
    Server(
        "gunicorn reloading", "wsgi", "gunicorn shop:app --reload --bind 127.0.0.1:8000", processes=1, source="shop.py"
    ),
]
UVICORN = [
    Server(
        "uvicorn",
        "asgi",
        "uvicorn api:app --port 8000",
        processes=1,
        parent=False,
        stops=((SIGTERM, -SIGTERM), (SIGINT, 0)),
        quick=True,
    ),
    Server("uvicorn with workers", "asgi", "uvicorn api:app --workers 2 --port 8000"),
    Server("uvicorn reloading", "asgi", "uvicorn api:app --reload --port 8000", processes=1, source="api.py"),
]
GRANIAN = [
    # After Ctrl-C its WSGI processes may hang, with deferq or without: they are told to stop twice.
    Server(
        "granian, WSGI",
        "wsgi",
        "granian --interface wsgi --factory shop:make_app --workers 2 --respawn-failed-workers --port 8000",
        stops=((SIGTERM, 0),),
    ),
    Server(
        "granian, ASGI", "asgi", "granian --interface asgi api:app --workers 2 --respawn-failed-workers --port 8000"
    ),
]
WAITRESS = [
    # It does nothing about SIGTERM, which so ends it on the spot.
    Server(
        "waitress",
        "wsgi",
        "waitress-serve --listen=127.0.0.1:8000 --call shop:make_app",
        processes=1,
        parent=False,
        stops=((SIGINT, 0),),
    ),
]
# The reloaders kill the process that serves, at once on SIGTERM and a quarter of a second after Ctrl-C.
FLASK = [
    Server("Flask", "flask", "flask --app shop run --debug --port 8000", processes=1, stops=(), source="shop.py"),
]
DJANGO = [
    Server("Django under gunicorn", "django", "gunicorn mysite.wsgi --workers 2 --bind 127.0.0.1:8000"),
    Server("Django", "django", "python manage.py runserver 8000", processes=1, stops=(), source="mysite/urls.py"),
]
SERVERS = [*GUNICORN, *UVICORN, *GRANIAN, *WAITRESS, *FLASK, *DJANGO]
#: What the page says about the same servers when nobody tells a process that it begins.
UNTOLD = [
    GUNICORN[0]._replace(command="gunicorn shop:app --bind 127.0.0.1:8000", processes=1),
    GRANIAN[0]._replace(command="granian --interface wsgi shop:app --port 8000", processes=1),
    WAITRESS[0]._replace(command="waitress-serve --listen=127.0.0.1:8000 shop:app"),
]
