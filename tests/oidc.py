"""A real OpenID provider (npm's oidc-provider) that a test starts, stops and starts again."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import aiohttp
from yarl import URL

from tests.tus.peers import installed_node

READY_S = 30.0
CLIENT_ID, CLIENT_SECRET = "uploads", "the secret of the tests"


class OidcProvider:
    def __init__(self, redirect: str) -> None:
        """`redirect`: where people are sent back to."""
        self._redirect = redirect
        self._process: asyncio.subprocess.Process | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.issuer = f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        """With new keys, as after a rotation."""
        self._process = await asyncio.create_subprocess_exec(
            *("node", "oidc.mjs", str(self.port), self._redirect),
            cwd=installed_node(),
            stdout=asyncio.subprocess.PIPE,
        )
        assert self._process.stdout is not None
        async with asyncio.timeout(READY_S):
            assert await self._process.stdout.readline() == b"ready\n"

    async def stop(self) -> None:
        if self._process is not None and self._process.returncode is None:
            self._process.kill()
            await self._process.wait()

    async def put_into(self, name: str, groups: str) -> None:
        """Groups with commas between."""
        url = f"{self.issuer}/groups/{name}?{groups}"
        async with aiohttp.ClientSession() as http, http.post(url) as answer:
            assert answer.status == 204

    async def token(self, resource: str) -> str:
        """An access token for a script (client credentials)."""
        form = {"grant_type": "client_credentials", "resource": resource}
        headers = {"Authorization": aiohttp.encode_basic_auth(CLIENT_ID, quote(CLIENT_SECRET))}
        async with (
            aiohttp.ClientSession(headers=headers) as http,
            http.post(f"{self.issuer}/token", data=form) as answer,
        ):
            assert answer.status == 200, await answer.text()
            found: str = (await answer.json())["access_token"]
            return found


class Browser:
    """A person's browser, as far as signing in needs one: it keeps cookies and sends forms."""

    def __init__(self, http: aiohttp.ClientSession, server: str) -> None:
        self.http = http
        self.server = server
        self.heard: list[Mapping[str, Any]] = []

    async def get(self, url: str) -> tuple[int, str, str]:
        """One step; status, where it leads, text."""
        return await self._ask("GET", url)

    async def post(self, url: str, form: Mapping[str, str]) -> tuple[int, str, str]:
        origin = "{0.scheme}://{0.netloc}".format(urlsplit(url))
        return await self._ask("POST", url, data=form, headers={"Origin": origin})

    async def _ask(self, method: str, url: str, **options: Any) -> tuple[int, str, str]:
        address = URL(url, encoded=True)
        async with self.http.request(method, address, allow_redirects=False, **options) as answer:
            return (
                answer.status,
                urljoin(url, answer.headers.get("Location", "")),
                await answer.text(),
            )

    async def to_callback(self, name: str, target: str = "/") -> str:
        """Sign in at the provider; the address that leads back, not followed yet."""
        status, url, text = await self.get(f"{self.server}/signin/oidc?next={target}")
        assert status == 303, text
        while not url.startswith(f"{self.server}/"):
            status, onward, text = await self.get(url)
            if status == 200:  # a form of the provider: who are you, and do you agree
                action = re.search(r'action="([^"]+)"', text)
                prompt = re.search(r'name="prompt" value="([^"]+)"', text)
                assert action is not None, text
                assert prompt is not None, text
                form = {"prompt": prompt[1], "login": name, "password": "any"}
                status, onward, text = await self.post(urljoin(url, action[1]), form)
            assert status in (302, 303), text
            url = onward
        return url

    async def sign_in(self, name: str, target: str = "/") -> tuple[int, str, str]:
        return await self.get(await self.to_callback(name, target))


@asynccontextmanager
async def browser(server: str) -> AsyncIterator[Browser]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.CookieJar(unsafe=True)) as http:
        yield Browser(http, server)
