"""An ASGI application without a framework."""

import asyncio

import shop_tasks

from deferq import wrap_asgi


async def respond(scope, receive, send):
    if scope["type"] != "http":
        raise NotImplementedError(scope["type"])
    body = (await asyncio.to_thread(shop_tasks.answer, scope["path"])).encode()
    headers = [(b"content-type", b"text/plain"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


app = wrap_asgi(respond)

shop_tasks.imported()
