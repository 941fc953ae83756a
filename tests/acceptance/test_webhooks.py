"""A webhook's message and a server that is killed before it was taken."""

from __future__ import annotations

import asyncio
import signal

import standardwebhooks

from tests.acceptance.conftest import Server
from tests.hooks import OK, hooked


async def test_a_message_outlives_a_kill(new_server: type[Server]) -> None:
    server = new_server(outgoing="any")
    async with hooked() as hook:
        hook.answer = b""  # it closes the connection: nobody knows whether it was taken
        await server.start()
        secret = (await server.request("POST", "/webhooks/callback-secret"))["secret"]
        query = {"filename": "a.txt", "callbackUrl": hook.url}
        job = await server.request("POST", "/upload", params=query, data=b"words")
        async with asyncio.timeout(30):
            while not hook.messages:
                await asyncio.sleep(0.01)
        await server.end(signal.SIGKILL)
        tried = len(hook.messages)
        hook.answer = OK
        await server.start()
        async with asyncio.timeout(90):  # its claim runs out a minute after the try, at the latest
            while len(hook.messages) == tried:
                await asyncio.sleep(0.05)
    assert len(set(hook.ids())) == 1
    message = hook.messages[-1]
    told = standardwebhooks.Webhook(secret).verify(message.body, dict(message.headers))
    assert (told["type"], told["data"]["jobId"]) == ("job.completed", job["jobId"])
