"""A browser that has signed in, as far as headers go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from multidict import MultiDict

from tests.conftest import ADMIN_KEY, Served


@dataclass
class Sent:
    status: int
    location: str | None
    text: str


@dataclass
class Browser:
    served: Served
    headers: dict[str, str]

    async def send(self, path: str, form: Mapping[str, str] | MultiDict[str]) -> Sent:
        """Send a form, and do not follow."""
        async with self.served.anonymous.post(
            path, data=form, headers=self.headers, allow_redirects=False
        ) as response:
            return Sent(response.status, response.headers.get("Location"), await response.text())


async def signed_in(served: Served, key: str = ADMIN_KEY) -> Browser:
    headers = {"Origin": served.url, "Accept": "text/html,application/xhtml+xml"}
    async with served.anonymous.post(
        "/signin", data={"key": key}, headers=headers, allow_redirects=False
    ) as response:
        assert response.status == 303
        cookie = response.headers["Set-Cookie"].partition(";")[0]
    return Browser(served, {**headers, "Cookie": cookie})
