"""How often owners and addresses may ask, and how many uploads they may begin.

Who is signed in is counted by owner, wherever they come from; others by address. Told as the
draft of the IETF has it (draft-ietf-httpapi-ratelimit-headers-10): by `RateLimit-Policy` and
`RateLimit`, on answers to what begins an upload and on refusals, the latter with `Retry-After`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from aiohttp import hdrs, web

from appliance.coordination.protocol import Coordination
from appliance.errors import RateLimited
from appliance.metrics import Metrics
from appliance.principals import Principal
from appliance.rates import Rate, Taken
from appliance.web.clients import client_of

HEADERS: web.RequestKey[dict[str, str]] = web.RequestKey("rate_limit_headers", dict)
"""For the answer, whichever it becomes."""


@dataclass(frozen=True)
class RateLimits:
    """None: any number."""

    coordination: Coordination
    metrics: Metrics
    uploads: Rate | None
    """That one owner begins."""
    requests: Rate | None
    """Of one owner."""
    anonymous: Rate | None
    """Requests of one address that is not signed in."""

    async def take_request(self, request: web.Request, asking: Principal | None) -> None:
        """Raises RateLimited."""
        if asking is not None:
            if self.requests is not None:
                taken = await self.coordination.take(f"requests:{asking.owner}", self.requests)
                self._judge(request, "requests", self.requests, taken)
        elif self.anonymous is not None and request.remote:
            client = client_of(request.remote)
            taken = await self.coordination.take(f"anonymous:{client}", self.anonymous)
            self._judge(request, "anonymous", self.anonymous, taken)

    async def take_upload(self, request: web.Request, owner: str) -> None:
        """Before an upload is begun. Raises RateLimited."""
        if self.uploads is None:
            return
        taken = await self.coordination.take(f"uploads:{owner}", self.uploads)
        request[HEADERS] = _told("uploads", self.uploads, taken)
        if not taken.allowed:
            self.metrics.uploads_refused.labels(RateLimited.code).inc()
        self._judge(request, "uploads", self.uploads, taken)

    def _judge(self, request: web.Request, policy: str, rate: Rate, taken: Taken) -> None:
        if taken.allowed:
            return
        request[HEADERS] = _told(policy, rate, taken)
        wait_s = math.ceil(taken.retry_after_s)
        raise RateLimited(
            f"{_WORDS[policy].format(count=rate.count, period=_period(rate))} Go on in {wait_s} s.",
            retry_after_s=taken.retry_after_s,
            policy=policy,
        )


_WORDS = {
    "uploads": "You may begin {count:,} uploads {period} (APPLIANCE_RATE_UPLOADS).",
    "requests": "You may send {count:,} requests {period} (APPLIANCE_RATE_REQUESTS).",
    "anonymous": "Your address may send {count:,} requests {period} without being signed in "
    "(APPLIANCE_RATE_ANONYMOUS).",
}


def _period(rate: Rate) -> str:
    return {1.0: "a second", 60.0: "a minute", 3600.0: "an hour"}.get(
        rate.period_s, f"in {rate.period_s:g} s"
    )


def _told(policy: str, rate: Rate, taken: Taken) -> dict[str, str]:
    """`t` is when all of `q` is there again."""
    return {
        "RateLimit-Policy": f'"{policy}";q={rate.count};w={math.ceil(rate.period_s)}',
        "RateLimit": f'"{policy}";r={taken.remaining};t={math.ceil(taken.full_after_s)}',
    }


def is_counted(request: web.Request) -> bool:
    """Preflights, probes and the parts of pages are not: they cost next to nothing, and come again
    and again."""
    resource = request.match_info.route.resource
    return request.method != hdrs.METH_OPTIONS and (
        resource is None or resource.canonical not in _FREE
    )


_FREE = frozenset({"/healthz", "/readyz", "/static/{name}"})
