"""The teller and its watch, on real SQLite, with a clock that is moved."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from appliance.acts import Acts
from appliance.coordination.memory import MemoryCoordination
from appliance.database import dead_letters, jobs, redrives, scrub, stored_files, workers
from appliance.database.dead_letters import Filter
from appliance.database.protocol import Database, Transaction
from appliance.database.workers import Outage, PoolState
from appliance.errors import DatabaseUnavailable
from appliance.ids import new_id
from appliance.jobs import JobError, JobType
from appliance.maintenance.teller import BETWEEN_S, GATHER_S, Teller
from appliance.maintenance.watch import LASTING_S, Watch
from appliance.metrics import Metrics
from appliance.notify.announcer import Announcer
from appliance.notify.apprise import AppriseMessenger
from appliance.notify.operators import Message, Messenger
from appliance.queue.table import TableQueue
from appliance.storage.local import LocalStorage
from tests import databases
from tests.clocks import MovedClock
from tests.receiver import Receiver, receiving
from tests.records import FAULT, a_job

URL = "https://files.example.org"


@dataclass
class Notes:
    """A messenger for what is not about delivery: it writes down what it is given."""

    receivers: tuple[str, ...] = ("notes",)
    down: set[int] = field(default_factory=set)
    taken: dict[int, list[Message]] = field(default_factory=dict)
    tries: int = 0

    async def deliver(self, messages: Mapping[int, Message]) -> set[int]:
        self.tries += 1
        took = messages.keys() - self.down
        for number in took:
            self.taken.setdefault(number, []).append(messages[number])
        return took

    def bodies(self, number: int = 0) -> list[str]:
        return [message.body for message in self.taken.get(number, [])]


@dataclass
class Stage:
    clock: MovedClock
    database: Database
    path: Path
    metrics: Metrics = field(default_factory=Metrics)
    own_pools: list[PoolState] = field(default_factory=list)

    def teller(self, messenger: Messenger) -> Teller:
        """As a server has it that was just started."""
        watch = Watch(self.database, self.clock, own_pools=lambda: self.own_pools)
        return Teller(
            database=self.database,
            messenger=messenger,
            watch=watch,
            metrics=self.metrics,
            clock=self.clock,
            url=URL,
        )

    async def failures(self, number: int, *, error: JobError = FAULT) -> list[str]:
        """Jobs that were given up."""
        given_up = [a_job() for _ in range(number)]

        def keeping() -> Transaction[None]:
            for job in given_up:
                yield from dead_letters.keep(
                    job.id,
                    owner=job.owner,
                    job_type=job.type,
                    error=error,
                    error_class="X",
                    now=self.clock.now(),
                )

        await self.database.write(jobs.create(given_up))
        await self.database.write(keeping())
        return [job.id for job in given_up]

    async def turn(self, teller: Teller) -> int:
        """A pass that notices, and one that sends; how many jobs were told of."""
        told = dict(await teller.run_once())
        self.clock.pass_time(GATHER_S)
        return told.get("jobs_told", 0) + (await teller.run_once()).get("jobs_told", 0)

    def sent(self, outcome: str) -> float | None:
        return self.metrics.registry.get_sample_value(
            "appliance_notifications_total", {"outcome": outcome}
        )


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    path = tmp_path / "test.db"
    database = await databases.opened(path)
    yield Stage(MovedClock(), database, path)
    await database.close()


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    async with receiving() as taking:
        yield taking


def pool(outage: Outage | None = None, job_type: JobType = JobType.IMAGE) -> PoolState:
    return PoolState(job_type, smallest=1, largest=2, target=1, ready=True, outage=outage)


DISK_FULL = Outage("storage_full", "The disk is nearly full: 3 MiB are free.", 1_000_000.0)


# --- dead letters, to a real receiver -------------------------------------------------------


async def test_dead_letters_are_told_once(stage: Stage, receiver: Receiver) -> None:
    teller = stage.teller(AppriseMessenger([receiver.url]))
    assert await teller.run_once() == {}
    await stage.failures(2)
    assert await stage.turn(teller) == 2
    assert receiver.titles == ["Upload Appliance: 2 jobs failed"]
    assert receiver.bodies == [
        "2 jobs failed for good and wait for review:\n"
        "- 2 images, since 1970-01-12 13:46 UTC: The process that worked on the file ended "
        'unexpectedly (child_crashed, at "resizing"): "It broke."\n'
        "\n"
        "https://files.example.org/dashboard/dead-letters"
    ]
    stage.clock.pass_time(3600)
    assert await stage.turn(teller) == 0
    assert receiver.asked == 1
    assert await stage.database.read(dead_letters.untold()) == []
    assert stage.sent("sent") == 1


async def test_a_storm_is_one_message(stage: Stage, receiver: Receiver) -> None:
    teller = stage.teller(AppriseMessenger([receiver.url]))
    await stage.failures(1)
    await teller.run_once()
    for number in range(20):
        error = msgspec.structs.replace(FAULT, code=f"code_{number % 3}")
        await stage.failures(500, error=error)
        await teller.run_once()
    assert receiver.asked == 0
    assert await stage.turn(teller) == 10_001
    assert receiver.titles == ["Upload Appliance: 10,001 jobs failed"]
    counts = [line.split()[1] for line in receiver.bodies[0].splitlines() if line[0:1] == "-"]
    assert counts == ["3,500", "3,500", "3,000", "1"]


async def test_a_receiver_that_fails_is_tried_again_and_nothing_is_lost(
    stage: Stage, receiver: Receiver
) -> None:
    teller = stage.teller(AppriseMessenger([receiver.url]))
    receiver.status = 503
    await stage.failures(1)
    with capture_logs() as logs:
        assert await stage.turn(teller) == 0
    assert receiver.asked == 1
    assert [line for line in logs if line["event"] == "notification_failed"] == [
        {
            "event": "notification_failed",
            "log_level": "warning",
            "receiver": 1,
            "service": "json",
            "retry_in_s": 60.0,
        }
    ]
    await stage.failures(1)
    stage.clock.pass_time(59)
    await teller.run_once()
    assert receiver.asked == 1, "not before its time"
    receiver.status = 200
    stage.clock.pass_time(1)
    assert await teller.run_once() == {"jobs_told": 2}
    assert receiver.titles == ["Upload Appliance: 2 jobs failed"]
    assert (stage.sent("sent"), stage.sent("failed")) == (1, 1)


async def test_what_was_not_told_is_told_after_a_restart(stage: Stage, receiver: Receiver) -> None:
    receiver.status = 503
    await stage.failures(3)
    await stage.turn(stage.teller(AppriseMessenger([receiver.url])))
    receiver.status = 200
    assert await stage.turn(stage.teller(AppriseMessenger([receiver.url]))) == 3
    assert receiver.titles == ["Upload Appliance: 3 jobs failed"]


# --- when -----------------------------------------------------------------------------------


async def test_there_is_a_minute_between_messages(stage: Stage) -> None:
    notes = Notes()
    teller = stage.teller(notes)
    for _ in range(120):
        await stage.failures(1)
        await teller.run_once()
        stage.clock.pass_time(5)
    assert 8 <= len(notes.bodies()) <= 600 / BETWEEN_S
    stage.clock.pass_time(BETWEEN_S)
    await stage.turn(teller)
    counts = [int(body.split()[0]) for body in notes.bodies()]
    assert sum(counts) == 120, "each is told once"


async def test_tries_become_rarer(stage: Stage) -> None:
    notes = Notes(down={0})
    teller = stage.teller(notes)
    await stage.failures(1)
    tried_at = []
    for _ in range(3600):
        before = notes.tries
        await teller.run_once()
        if notes.tries > before:
            tried_at.append(stage.clock.mono)
        stage.clock.pass_time(1)
    waits = [later - earlier for earlier, later in pairwise(tried_at)]
    assert waits == [60, 120, 240, 480, 900, 900]
    notes.down = set()
    stage.clock.pass_time(900)
    assert await teller.run_once() == {"jobs_told": 1}
    await stage.failures(1)
    stage.clock.pass_time(BETWEEN_S)
    notes.down = {0}
    await stage.turn(teller)
    notes.down = set()
    stage.clock.pass_time(60)
    assert await teller.run_once() == {"jobs_told": 1}, "counted anew after a success"


async def test_ten_thousand_failures_in_a_row_break_nothing(stage: Stage) -> None:
    notes = Notes(down={0})
    teller = stage.teller(notes)
    await stage.failures(1)
    for _ in range(2000):
        await teller.run_once()
        stage.clock.pass_time(900)
    notes.down = set()
    assert await teller.run_once() == {"jobs_told": 1}


async def test_a_receiver_that_missed_a_message_gets_it_later(stage: Stage) -> None:
    notes = Notes(("one", "other"), down={1})
    teller = stage.teller(notes)
    await stage.failures(1)
    assert await stage.turn(teller) == 1, "told when one has taken it"
    stage.clock.pass_time(BETWEEN_S)
    notes.down = set()
    await stage.failures(2)
    assert await stage.turn(teller) == 2
    stage.clock.pass_time(BETWEEN_S)
    await stage.turn(teller)
    expected = ["1 job failed", "2 jobs failed"]
    for number in (0, 1):
        assert [body.partition(" for")[0] for body in notes.bodies(number)] == expected


async def test_a_receiver_that_stays_away_is_owed_ten_messages_at_most(stage: Stage) -> None:
    notes = Notes(("one", "other"), down={1})
    teller = stage.teller(notes)
    for number in range(30):
        await stage.failures(number + 1)
        stage.clock.pass_time(BETWEEN_S)
        assert await stage.turn(teller) == number + 1
    notes.down = set()
    for _ in range(30):
        stage.clock.pass_time(900)
        await stage.turn(teller)
    assert [int(body.split()[0]) for body in notes.bodies(1)] == list(range(21, 31))
    assert len(notes.bodies(0)) == 30


# --- what is told, and what is marked -------------------------------------------------------


async def test_what_fails_while_a_message_is_under_way_is_told_next(stage: Stage) -> None:
    class Slow(Notes):
        async def deliver(self, messages: Mapping[int, Message]) -> set[int]:
            stage.clock.pass_time(3)
            if not self.tries:
                await stage.failures(4)
            return await super().deliver(messages)

    notes = Slow()
    teller = stage.teller(notes)
    await stage.failures(1)
    assert await stage.turn(teller) == 1
    stage.clock.pass_time(BETWEEN_S)
    assert await stage.turn(teller) == 4


async def test_what_was_committed_late_is_not_taken_for_told(stage: Stage) -> None:
    """It failed before the message, by its stamp, but came to light after it."""

    class Slow(Notes):
        async def deliver(self, messages: Mapping[int, Message]) -> set[int]:
            if not self.tries:
                stage.clock.wall -= 100
                await stage.failures(1)
                stage.clock.wall += 100
            return await super().deliver(messages)

    notes = Slow()
    teller = stage.teller(notes)
    await stage.failures(1)
    await stage.turn(teller)
    stage.clock.pass_time(BETWEEN_S)
    assert await stage.turn(teller) == 2, "its group is told again, as a whole"
    stage.clock.pass_time(BETWEEN_S)
    assert await stage.turn(teller) == 0


async def test_it_is_not_told_again_while_nothing_can_be_written(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = Notes()
    teller = stage.teller(notes)
    await stage.failures(1)

    async def refuse(transaction: object) -> None:
        raise DatabaseUnavailable

    with monkeypatch.context() as broken:
        broken.setattr(stage.database, "write", refuse)
        with pytest.raises(DatabaseUnavailable):
            await stage.turn(teller)
        stage.own_pools = [pool(DISK_FULL)]
        for _ in range(20):
            await teller.run_once()
            stage.clock.pass_time(30)
    assert len(notes.bodies()) == 2
    assert notes.bodies()[1].startswith("Out of order since ")
    assert "failed for good" not in notes.bodies()[1]
    await stage.failures(3)
    stage.clock.pass_time(BETWEEN_S)
    assert await stage.turn(teller) == 3


# --- what else is out of order --------------------------------------------------------------


async def test_an_outage_is_told_when_it_lasts_and_when_it_is_over(stage: Stage) -> None:
    notes = Notes()
    teller = stage.teller(notes)
    await stage.database.write(workers.register("w", node="n", now=stage.clock.now()))

    async def beat(outage: Outage | None) -> None:
        beating = workers.beat(
            "w", node="n", running={}, now=stage.clock.now(), pools=[pool(outage)]
        )
        await stage.database.write(beating)

    await beat(DISK_FULL)
    await teller.run_once()
    stage.clock.pass_time(LASTING_S - 1)
    await teller.run_once()
    await stage.turn(teller)  # more than a minute by now
    await stage.turn(teller)
    assert notes.bodies() == [
        "Out of order since 1970-01-12 13:46 UTC: work on images. The disk is nearly full: 3 MiB "
        "are free.\n\nhttps://files.example.org/dashboard"
    ]
    for _ in range(20):
        stage.clock.pass_time(60)
        await teller.run_once()
    assert len(notes.bodies()) == 1
    await beat(None)
    await stage.turn(teller)
    assert notes.bodies()[1:] == [
        "In order again after 21 minutes: work on images. It was out of order since 1970-01-12 "
        "13:46 UTC: The disk is nearly full: 3 MiB are free.\n\nhttps://files.example.org/dashboard"
    ]
    stage.clock.pass_time(3600)
    await stage.turn(teller)
    assert len(notes.bodies()) == 2


async def test_short_outages_are_not_told(stage: Stage) -> None:
    notes = Notes()
    teller = stage.teller(notes)
    for _ in range(50):
        stage.own_pools = [pool(DISK_FULL)]
        await teller.run_once()
        stage.clock.pass_time(LASTING_S - 5)
        await teller.run_once()
        stage.own_pools = [pool()]
        await stage.turn(teller)
    assert notes.bodies() == []


async def test_an_outage_of_this_process_is_known_when_nothing_can_be_written(
    stage: Stage,
) -> None:
    """Heartbeats carry the state of the pools to the database, and they are writes."""
    notes = Notes()
    teller = stage.teller(notes)
    stage.own_pools = [pool(DISK_FULL), pool(DISK_FULL, JobType.PDF), pool(None, JobType.VIDEO)]
    await teller.run_once()
    stage.clock.pass_time(LASTING_S)
    await stage.turn(teller)
    assert "work on images, work on PDFs. The disk" in notes.bodies()[0]


async def test_another_reason_is_the_same_outage(stage: Stage) -> None:
    notes = Notes()
    teller = stage.teller(notes)
    other = Outage("storage_unavailable", "The file storage does not answer", stage.clock.now())
    for _ in range(40):
        for outage in (DISK_FULL, other):
            stage.own_pools = [pool(outage)]
            await teller.run_once()
            stage.clock.pass_time(5)
    assert len(notes.bodies()) == 1


async def test_a_database_that_does_not_answer_is_told(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = Notes()
    teller = stage.teller(notes)

    async def refuse(transaction: object) -> None:
        raise DatabaseUnavailable("The database does not answer. Look at its disk.")

    with monkeypatch.context() as broken:
        broken.setattr(stage.database, "read", refuse)
        await teller.run_once()
        stage.clock.pass_time(LASTING_S)
        await stage.turn(teller)
    (body,) = notes.bodies()
    assert "the database. The database does not answer. Look at its disk." in body
    stage.clock.pass_time(BETWEEN_S)
    await stage.turn(teller)
    assert notes.bodies()[1].startswith("In order again after 2 minutes: the database. ")


async def test_missing_files_are_told_when_there_are_more(stage: Stage) -> None:
    notes = Notes()
    teller = stage.teller(notes)
    uploads = [a_job() for _ in range(4)]
    await stage.database.write(jobs.create(uploads))

    async def mark(missing: list[int], found: list[int]) -> None:
        marking = stored_files.mark(
            missing=[uploads[number].id for number in missing],
            found=[uploads[number].id for number in found],
            now=stage.clock.now(),
        )
        await stage.database.write(marking)
        await stage.turn(teller)
        stage.clock.pass_time(BETWEEN_S)

    await mark([], [])
    await mark([0], [])
    await mark([1, 2], [])
    await mark([], [0])
    await mark([3], [])
    starts = [body.partition(" The log")[0] for body in notes.bodies()]
    assert starts == [
        "1 stored original is newly found missing, 1 in all.",
        "2 stored originals are newly found missing, 3 in all.",
        "1 stored original is newly found missing, 3 in all.",
    ]


async def test_damaged_files_are_told_once(stage: Stage) -> None:
    notes = Notes()
    teller = stage.teller(notes)
    upload = a_job()
    await stage.database.write(jobs.create([upload]))
    (original,) = await stage.database.read(stored_files.originals_named("", limit=2))
    await stage.database.write(scrub.mark_damaged(original, now=stage.clock.now()))
    for _ in range(2):
        await stage.turn(teller)
        stage.clock.pass_time(BETWEEN_S)
    (body,) = notes.bodies()
    assert body.startswith("1 stored file is newly found damaged, 1 in all.")


async def test_unreadable_files_are_told(stage: Stage) -> None:
    notes = Notes()
    teller = stage.teller(notes)
    await stage.database.write(jobs.create([a_job()]))
    (original,) = await stage.database.read(stored_files.originals_named("", limit=2))
    now = stage.clock.now()
    await stage.database.write(scrub.mark_damaged(original, now=now, unreadable="EIO"))
    await stage.turn(teller)
    (body,) = notes.bodies()
    assert body.startswith("1 stored file is newly found unreadable, 1 in all.")


async def test_a_redrive_that_stops_by_itself_is_told(stage: Stage, tmp_path: Path) -> None:
    notes = Notes()
    teller = stage.teller(notes)
    storage = LocalStorage.open(tmp_path / "files")
    queue, announcer = (
        TableQueue(stage.database, stage.clock),
        Announcer(MemoryCoordination(stage.clock)),
    )
    acts = Acts(stage.database, storage, queue, announcer, stage.clock)
    for outcome in ("stopped", "completed"):
        job = a_job()
        await stage.database.write(jobs.create([job]))
        await fail(stage, job.id)
        redrive_id = new_id()
        creating = redrives.create(
            redrive_id,
            Filter(ids=(job.id,)),
            staged=outcome == "stopped",
            limit=10,
            actor="key:A",
            now=stage.clock.now(),
        )
        await stage.database.write(creating)
        await acts.advance(redrive_id)
        await fail(stage, job.id)
        stage.clock.pass_time(1)
        ended = await acts.advance(redrive_id)
        assert ended is not None
        assert ended.state == outcome
        stage.clock.pass_time(BETWEEN_S)
        await stage.turn(teller)
    stopped = [body for body in notes.bodies() if "stopped by itself" in body]
    assert len(stopped) == 1
    assert "of 1 job in wave 1, 1 failed again. It had not begun 0 others." in stopped[0]
    stage.clock.pass_time(BETWEEN_S)
    await stage.turn(stage.teller(notes))
    assert len(notes.bodies()) == 2, "a restart tells of what comes, not of what was"


async def fail(stage: Stage, job_id: str) -> None:
    claim = await stage.database.write(jobs.claim(job_id, worker="w", now=stage.clock.now()))
    assert claim is not None
    failing = jobs.fail(
        job_id,
        attempt=claim.attempt,
        now=stage.clock.now(),
        error=FAULT,
        error_class="X",
        stderr_tail=None,
    )
    await stage.database.write(failing)
