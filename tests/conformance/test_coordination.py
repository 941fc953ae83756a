"""What every coordination backend must do."""

from __future__ import annotations

import asyncio

import pytest

from appliance.coordination import memory
from appliance.coordination.memory import MemoryCoordination
from appliance.coordination.protocol import Coordination
from appliance.rates import Rate
from tests.clocks import MovedClock


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


# --- rates -----------------------------------------------------------------------------------

RATES = [Rate(10, 1.0), Rate(6000, 60.0), Rate(7, 3600.0)]


@pytest.mark.parametrize("rate", RATES, ids=["10/s", "6000/min", "7/h"])
async def test_a_rate_allows_its_count_at_once_and_not_one_more(
    coordination: Coordination, clock: MovedClock, rate: Rate
) -> None:
    told = [await coordination.take("a", rate) for _ in range(rate.count)]
    assert all(taken.allowed for taken in told)
    assert [taken.remaining for taken in told] == list(reversed(range(rate.count)))
    assert told[-1].full_after_s == pytest.approx(rate.period_s, abs=1e-5)
    refused = await coordination.take("a", rate)
    assert (refused.allowed, refused.remaining) == (False, 0)
    assert refused.retry_after_s == pytest.approx(rate.interval_s, abs=1e-5)
    assert (await coordination.take("b", rate)).allowed  # everybody for themselves
    clock.pass_time(rate.period_s)
    again = [(await coordination.take("a", rate)).allowed for _ in range(rate.count + 1)]
    assert again == [True] * rate.count + [False]


async def test_who_waits_as_long_as_told_is_let_in_once(
    coordination: Coordination, clock: MovedClock
) -> None:
    rate = Rate(5, 10.0)
    for _ in range(5):
        await coordination.take("a", rate)
    for _ in range(3):
        refused = await coordination.take("a", rate)
        for _ in range(50):  # asking costs nothing and puts nothing off
            assert (await coordination.take("a", rate)).retry_after_s == refused.retry_after_s
        clock.pass_time(refused.retry_after_s - 0.01)
        assert not (await coordination.take("a", rate)).allowed
        clock.pass_time(0.011)
        assert (await coordination.take("a", rate)).allowed
        assert not (await coordination.take("a", rate)).allowed


async def test_many_at_once_get_no_more_than_the_rate(coordination: Coordination) -> None:
    rate = Rate(40, 60.0)
    told = await asyncio.gather(*(coordination.take("a", rate) for _ in range(200)))
    assert sum(taken.allowed for taken in told) == 40


async def test_several_at_once_are_all_counted_or_none(coordination: Coordination) -> None:
    rate = Rate(10, 60.0)
    assert (await coordination.take("a", rate, cost=8)).remaining == 2
    refused = await coordination.take("a", rate, cost=5)
    assert (refused.allowed, refused.remaining) == (False, 2)
    assert refused.retry_after_s == pytest.approx(18.0)
    assert (await coordination.take("a", rate, cost=2)).allowed


async def test_what_is_given_back_can_be_taken_again_and_no_more(
    coordination: Coordination,
) -> None:
    rate = Rate(3, 60.0)
    for _ in range(3):
        await coordination.take("a", rate)
    assert (await coordination.take("a", rate, cost=-1)).remaining == 1
    assert (await coordination.take("a", rate)).allowed
    assert not (await coordination.take("a", rate)).allowed
    for _ in range(10):
        assert (await coordination.take("a", rate, cost=-1)).allowed
    assert (await coordination.take("a", rate, cost=3)).allowed
    assert not (await coordination.take("a", rate)).allowed


async def test_the_names_in_memory_have_an_end(
    clock: MovedClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memory, "MAX_RATED", 50)
    coordination, rate = MemoryCoordination(clock), Rate(1, 60.0)
    for number in range(500):
        assert (await coordination.take(f"{number}", rate)).allowed
    assert len(coordination._paid_until_ns) == 50
    assert not (await coordination.take("499", rate)).allowed


async def test_who_leads_goes_on_to_lead_until_it_steps_down(coordination: Coordination) -> None:
    assert await coordination.lead("maintenance", ttl_s=60)
    assert await coordination.lead("maintenance", ttl_s=60)
    await coordination.step_down("maintenance")
    assert await coordination.lead("maintenance", ttl_s=60)
