"""An ASGI application without a framework. Its tasks may be coroutines.

cd examples
pip install uvicorn
uvicorn asgi_app:app
curl -X POST http://127.0.0.1:8000/ -d ada@example.org
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from deferq import defer_async, wrap_asgi

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


async def send_welcome(address: str) -> None:
    await asyncio.sleep(0.1)
    print("welcome,", address)


async def signup(scope: Message, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await say_yes(receive, send)
        return
    handle = await defer_async(send_welcome, (await body_of(receive)).decode())
    await send({"type": "http.response.start", "status": 202, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": f"stored as task {handle.id}\n".encode()})


async def say_yes(receive: Receive, send: Send) -> None:
    """The server asks whether the application is ready, and at the end whether it is done."""
    for _ in range(2):
        await send({"type": (await receive())["type"] + ".complete"})


async def body_of(receive: Receive) -> bytes:
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    return body


app = wrap_asgi(signup)
