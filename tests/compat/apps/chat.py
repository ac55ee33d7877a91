"""An application that left App Engine and WSGI at once: FastAPI, with tasks that were written for App Engine."""

from fastapi import FastAPI, Request, Response

import deferq
from deferq.compat.appengine import deferred, taskqueue, wrap_asgi_app

api = FastAPI()
said = []


def say(who, what):
    if what == "never":
        raise deferred.PermanentTaskFailure(what)
    said.append((who, what, deferq.current_task().attempt))


@api.post("/say/{who}")
async def later(who: str, what: str) -> Response:
    deferred.defer(say, who, what)
    deferred.defer(say, who, f"{what}!", _url="/_tasks/say", _countdown=60)
    taskqueue.add(url="/_tasks/note", params={"who": who}, countdown=120)
    return Response(status_code=202)


@api.post("/_tasks/say")
async def deliver(request: Request) -> Response:
    text, status, headers = await deferred.Handler().post_async(request.scope, await request.body())
    return Response(text, status, dict(headers))


@api.post("/_tasks/note")
async def note(request: Request) -> Response:
    said.append(("note", (await request.body()).decode(), request.headers["x-appengine-queuename"]))
    return Response(status_code=204)


app = wrap_asgi_app(api, use_deferred=True)
