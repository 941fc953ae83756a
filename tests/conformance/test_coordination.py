"""What every coordination backend must do."""

from __future__ import annotations

import asyncio

from appliance.coordination.protocol import Coordination


async def test_the_cache_forgets_by_itself(coordination: Coordination) -> None:
    await coordination.set("status:1", b"old", ttl_s=60)
    await coordination.set("status:1", b"new", ttl_s=60)
    assert await coordination.get("status:1") == b"new"
    await coordination.delete("status:1")
    assert await coordination.get("status:1") is None
    await coordination.set("short", b"x", ttl_s=0.0)
    assert await coordination.get("short") is None


async def test_subscribers_hear_what_is_published_from_then_on(coordination: Coordination) -> None:
    await coordination.publish("jobs", b"before")
    async with coordination.subscribe("jobs") as one, coordination.subscribe("jobs") as two:
        await coordination.publish("jobs", b"first")
        await coordination.publish("other", b"elsewhere")
        await coordination.publish("jobs", b"second")
        for subscription in (one, two):
            assert await subscription.next(1) == b"first"
            assert await subscription.next(1) == b"second"
            assert await subscription.next(0.01) is None


async def test_a_waiting_subscriber_is_woken(coordination: Coordination) -> None:
    async with coordination.subscribe("jobs") as subscription:
        waiting = asyncio.create_task(subscription.next(30))
        await asyncio.wait([waiting], timeout=0.01)
        await coordination.publish("jobs", b"now")
        async with asyncio.timeout(1):
            assert await waiting == b"now"


async def test_a_slow_subscriber_loses_the_oldest(coordination: Coordination) -> None:
    async with coordination.subscribe("jobs") as subscription:
        for number in range(10_000):
            await coordination.publish("jobs", b"%d" % number)
        heard = []
        while (message := await subscription.next(0.01)) is not None:
            heard.append(int(message))
    assert heard[-1] == 9_999
    assert len(heard) < 10_000


async def test_a_lock_has_one_holder(coordination: Coordination) -> None:
    async with coordination.lock("job:1", ttl_s=10) as ours:
        assert ours
        async with coordination.lock("job:1", ttl_s=10) as also:
            assert not also
        async with coordination.lock("job:2", ttl_s=10) as other:
            assert other
    async with coordination.lock("job:1", ttl_s=10) as again:
        assert again
