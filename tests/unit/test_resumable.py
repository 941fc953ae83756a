"""Uploads over several requests: what is told is durable, what is complete is a job."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from appliance.coordination.memory import MemoryCoordination
from appliance.database import job_reads, ownership, resumables
from appliance.database.ownership import Quota
from appliance.database.protocol import Database
from appliance.errors import (
    ChecksumMismatch,
    FileTypeRefused,
    IncompleteBody,
    LengthExceeded,
    LengthMismatch,
    NotFound,
    OffsetMismatch,
    QuotaExceeded,
    UploadCompleted,
    UploadGone,
    UploadTakenOver,
)
from appliance.intake.admission import Admission, IntakeLimits
from appliance.intake.completion import Appended
from appliance.intake.resumable import Checksum, ResumableUploads
from appliance.jobs import JobStatus, Scan
from appliance.notify.announcer import Announcer
from appliance.queue.table import TableQueue
from appliance.storage import local_files
from appliance.storage.local import LocalStorage
from appliance.uploads import Announced, JobOptions, Resumable
from tests import databases
from tests.clocks import MovedClock

TEXT = b"A text of some words, again and again. " * 500


async def body(*pieces: bytes, then: BaseException | None = None) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece
    if then is not None:
        raise then


class Scene:
    def __init__(self, root: Path, database: Database, **limits: Any) -> None:
        self.root = root
        self.clock = MovedClock()
        self.database = database
        self.storage = LocalStorage.open(root / "files")
        self.uploads = self.born_again(**limits)

    def born_again(self, **limits: Any) -> ResumableUploads:
        """As after a restart: nothing is remembered but what is on the disk."""
        announcer = Announcer(MemoryCoordination(self.clock))
        admission = Admission(
            storage=self.storage,
            database=self.database,
            clock=self.clock,
            limits=IntakeLimits(
                **{
                    "max_upload_bytes": 10**6,
                    "reserve_bytes": 0,
                    "allowed_types": ("text/*", "image/*"),
                    "max_retries": 3,
                    "upload_expiry_s": 100.0,
                    **limits,
                }
            ),
            scan=Scan("not_scanned", "no scanner is set"),
        )
        return ResumableUploads(
            admission,
            storage=self.storage,
            partials=self.storage.partials,
            database=self.database,
            queue=TableQueue(self.database, self.clock),
            announcer=announcer,
            clock=self.clock,
        )

    async def create(self, length: int | None = len(TEXT), **options: Any) -> Resumable:
        announced = Announced(filename="a.txt", sha256=options.pop("sha256", None))
        return await self.uploads.create(
            "key:A", announced, JobOptions(), length_bytes=length, **options
        )

    async def append(self, upload: Resumable, offset: int, *pieces: bytes, **more: Any) -> Appended:
        then = more.pop("then", None)
        return await self.uploads.append(
            "key:A", upload.id, body(*pieces, then=then), offset_bytes=offset, **more
        )

    async def offset(self, upload: Resumable) -> int:
        return (await self.uploads.look("key:A", upload.id)).upload.offset_bytes

    def original(self, upload: Resumable) -> bytes:
        return (self.root / "files/raw" / upload.id / "a.txt").read_bytes()

    def partials(self) -> list[str]:
        return [p.name for p in (self.root / "files/partial").iterdir() if p.name != "boot-id"]


@pytest.fixture
async def scene(tmp_path: Path) -> AsyncIterator[Scene]:
    database = await databases.opened(tmp_path)
    yield Scene(tmp_path, database)
    await database.close()


async def test_several_requests_make_one_file_and_one_job(scene: Scene) -> None:
    upload = await scene.create()
    first = await scene.append(upload, 0, TEXT[:5], TEXT[5:7000])
    assert (first.upload.offset_bytes, first.job) == (7000, None)
    last = await scene.append(upload, 7000, TEXT[7000:])
    assert last.job is not None
    assert (last.job.id, last.job.status, last.job.size_bytes) == (
        upload.id,
        JobStatus.PENDING,
        len(TEXT),
    )
    assert last.job.sha256 == hashlib.sha256(TEXT).hexdigest()
    assert scene.original(upload) == TEXT
    assert scene.partials() == []
    again = await scene.uploads.look("key:A", upload.id)
    assert again.upload.state == "completed"
    assert again.job == last.job


@pytest.mark.parametrize(
    "end", [IncompleteBody("stalled"), ConnectionResetError(), RuntimeError("a bug")]
)
async def test_what_came_before_a_break_is_kept(scene: Scene, end: BaseException) -> None:
    upload = await scene.create()
    with pytest.raises(type(end)):
        await scene.append(upload, 0, TEXT[:1000], TEXT[1000:3000], then=end)
    assert await scene.offset(upload) == 3000
    assert (await scene.append(upload, 3000, TEXT[3000:])).job is not None
    assert scene.original(upload) == TEXT


async def test_a_restart_goes_on_where_it_stopped(scene: Scene) -> None:
    upload = await scene.create()
    await scene.append(upload, 0, TEXT[:3000])
    scene.uploads = scene.born_again()
    await scene.uploads.recover()
    assert await scene.offset(upload) == 3000
    last = await scene.append(upload, 3000, TEXT[3000:])
    assert last.job is not None
    assert last.job.sha256 == hashlib.sha256(TEXT).hexdigest()


async def test_after_a_power_cut_only_what_was_synced_counts(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel's boot id says that it was one: the file's end may be anything."""
    await scene.uploads.recover()
    upload = await scene.create()
    await scene.append(upload, 0, TEXT[:3000])
    path = scene.root / "files/partial" / upload.id
    path.write_bytes(TEXT[:3000] + bytes(5000))  # grew, but was never recorded
    boot = scene.root / "boot"
    boot.write_text("another")
    monkeypatch.setattr("appliance.storage.local_partials.BOOT_ID", boot)
    assert await scene.uploads.recover() == 5000
    assert path.read_bytes() == TEXT[:3000]
    assert (await scene.append(upload, 3000, TEXT[3000:])).job is not None
    assert scene.original(upload) == TEXT


async def test_a_partial_that_no_upload_knows_is_deleted_at_the_start(scene: Scene) -> None:
    upload = await scene.create()
    (scene.root / "files/partial/01ORPHAN").write_bytes(b"x" * 10)
    assert await scene.uploads.recover() == 10
    assert scene.partials() == [upload.id]


@pytest.mark.parametrize("at", ["before the original", "after the original"])
async def test_a_crash_after_the_last_byte_still_makes_the_job(scene: Scene, at: str) -> None:
    upload = await scene.create()
    await scene.append(upload, 0, TEXT[:3000])
    (scene.root / "files/partial" / upload.id).write_bytes(TEXT)
    await scene.database.write(
        resumables.advance(
            upload.id, offset_bytes=len(TEXT), length_bytes=None, closed=False, expires_at=2e9
        )
    )
    if at == "after the original":
        await scene.storage.partials.commit(upload.id, f"raw/{upload.id}/a.txt")
    scene.uploads = scene.born_again()
    await scene.uploads.recover()
    assert await scene.uploads.finish_full() == 1
    job = await scene.database.read(job_reads.get(upload.id))
    assert job is not None
    assert job.sha256 == hashlib.sha256(TEXT).hexdigest()
    assert scene.original(upload) == TEXT
    assert await scene.uploads.finish_full() == 0


async def test_a_life_that_ended_before_its_syncs_has_them_done_by_the_next(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Directories and names that a killed life left behind are there, but not yet durable."""
    upload = await scene.create()
    await scene.append(upload, 0, TEXT[:3000])
    files = scene.root / "files"
    original = files / "raw" / upload.id / "a.txt"
    original.parent.mkdir()
    (files / "partial" / upload.id).rename(original)
    synced: list[Path] = []
    monkeypatch.setattr(local_files, "sync", synced.append)
    await scene.storage.partials.commit(upload.id, f"raw/{upload.id}/a.txt")
    assert {original.parent, files / "raw", files / "partial"} <= set(synced)


async def test_a_newer_request_takes_over_and_the_older_keeps_what_it_got(scene: Scene) -> None:
    upload = await scene.create()
    stuck = asyncio.Event()

    async def stalling() -> AsyncIterator[bytes]:
        yield TEXT[:4000]
        stuck.set()
        await asyncio.Event().wait()

    older = asyncio.create_task(
        scene.uploads.append("key:A", upload.id, stalling(), offset_bytes=0)
    )
    await stuck.wait()
    async with asyncio.timeout(2):
        assert await scene.offset(upload) == 4000
    with pytest.raises(UploadTakenOver):
        await older
    assert (await scene.append(upload, 4000, TEXT[4000:])).job is not None


async def test_many_at_once_never_mix(scene: Scene) -> None:
    upload = await scene.create()
    outcomes = await asyncio.gather(
        *(scene.append(upload, 0, TEXT[:100], TEXT[100:]) for _ in range(10)),
        return_exceptions=True,
    )
    done = [one for one in outcomes if isinstance(one, Appended)]
    assert len(done) == 1
    for one in outcomes:
        assert isinstance(one, (Appended, OffsetMismatch, UploadTakenOver, UploadCompleted)), one
    assert scene.original(upload) == TEXT


async def test_a_wrong_offset_is_told_with_the_right_one(scene: Scene) -> None:
    upload = await scene.create()
    await scene.append(upload, 0, TEXT[:10])
    for wrong in (0, 9, 11, len(TEXT)):
        with pytest.raises(OffsetMismatch) as told:
            await scene.append(upload, wrong, b"x")
        assert told.value.extra == {"expected-offset": 10, "provided-offset": wrong}
    assert await scene.offset(upload) == 10


async def test_a_checksum_holds_for_the_whole_request_or_nothing_counts(scene: Scene) -> None:
    upload = await scene.create()
    good = Checksum("sha1", hashlib.sha1(TEXT[:500]).digest())
    await scene.append(upload, 0, TEXT[:500], checksum=good)
    with pytest.raises(ChecksumMismatch):
        await scene.append(upload, 500, b"y" * 500, checksum=good)
    with pytest.raises(ConnectionResetError):
        await scene.append(upload, 500, b"y", checksum=good, then=ConnectionResetError())
    assert await scene.offset(upload) == 500
    assert (await scene.append(upload, 500, TEXT[500:])).job is not None
    assert scene.original(upload) == TEXT


async def test_lengths_are_held_to_each_other(scene: Scene) -> None:
    upload = await scene.create(None)
    await scene.append(upload, 0, TEXT[:100])
    with pytest.raises(LengthMismatch):
        await scene.append(upload, 100, b"", length_bytes=99)
    told = await scene.append(upload, 100, b"", length_bytes=len(TEXT))
    assert told.upload.length_bytes == len(TEXT)
    with pytest.raises(LengthMismatch):
        await scene.append(upload, 100, b"", length_bytes=len(TEXT) + 1)
    with pytest.raises(LengthExceeded):
        await scene.append(upload, 100, b"x", content_bytes=len(TEXT))
    assert await scene.offset(upload) == 100
    with pytest.raises(LengthExceeded):
        await scene.append(upload, 100, TEXT, TEXT)
    assert await scene.offset(upload) == 100


async def test_closing_ends_an_upload_of_unknown_length(scene: Scene) -> None:
    upload = await scene.create(None)
    await scene.append(upload, 0, TEXT[:100])
    last = await scene.append(upload, 100, b"", close=True, content_bytes=0)
    assert last.job is not None
    assert last.job.size_bytes == 100
    with pytest.raises(UploadCompleted):
        await scene.append(upload, 100, b"x")


async def test_what_may_not_come_in_is_refused_by_its_first_bytes(scene: Scene) -> None:
    upload = await scene.create()
    with pytest.raises(FileTypeRefused):
        await scene.append(upload, 0, b"\x7fELF" + bytes(5000))
    with pytest.raises(UploadGone, match="refused"):
        await scene.append(upload, 0, TEXT)
    assert scene.partials() == []


async def test_others_do_not_see_it(scene: Scene) -> None:
    upload = await scene.create()
    for upload_id in (upload.id, "01AAAAAAAAAAAAAAAAAAAAAAAA", "../../etc/passwd"):
        with pytest.raises(NotFound):
            await scene.uploads.look("key:B", upload_id)
        with pytest.raises(NotFound):
            await scene.uploads.append("key:B", upload_id, body(b"x"), offset_bytes=0)
        with pytest.raises(NotFound):
            await scene.uploads.terminate("key:B", upload_id)


async def test_parts_are_joined_in_their_order(scene: Scene) -> None:
    parts = [await scene.create(3000, kind="partial") for _ in range(2)]
    for part, piece in zip(parts, (TEXT[:3000], TEXT[3000:6000]), strict=True):
        assert (await scene.append(part, 0, piece)).upload.state == "completed"
    ids = [parts[1].id, parts[0].id]
    joined = await scene.uploads.join("key:A", ids, Announced(filename="a.txt"), JobOptions())
    assert joined.job is not None
    assert scene.original(joined.upload) == TEXT[3000:6000] + TEXT[:3000]
    assert scene.partials() == []
    with pytest.raises(NotFound):
        await scene.uploads.join("key:A", ids, Announced(filename="a.txt"), JobOptions())


@pytest.mark.parametrize("healed_by", ["the one that joins", "a look", "maintenance"])
async def test_a_crash_after_the_last_byte_of_a_part_leaves_it_complete(
    scene: Scene, healed_by: str
) -> None:
    part = await scene.create(3000, kind="partial")
    await scene.append(part, 0, TEXT[:2000])
    (scene.root / "files/partial" / part.id).write_bytes(TEXT[:3000])
    await scene.database.write(
        resumables.advance(
            part.id, offset_bytes=3000, length_bytes=3000, closed=False, expires_at=2e9
        )
    )
    scene.uploads = scene.born_again()
    await scene.uploads.recover()
    if healed_by == "a look":
        assert (await scene.uploads.look("key:A", part.id)).upload.state == "completed"
    elif healed_by == "maintenance":
        await scene.uploads.finish_full()
        assert (await scene.database.read(resumables.complete_parts())) == {part.id: 3000}
    announced = Announced(filename="a.txt")
    joined = await scene.uploads.join("key:A", [part.id], announced, JobOptions())
    assert joined.job is not None
    assert scene.original(joined.upload) == TEXT[:3000]


async def test_a_part_that_goes_while_it_is_joined_is_not_found(scene: Scene) -> None:
    """The upload that it was joined to before comes to its end just now."""
    part = await scene.create(3000, kind="partial")
    await scene.append(part, 0, TEXT[:3000])
    (scene.root / "files/partial" / part.id).unlink()
    with pytest.raises(NotFound):
        await scene.uploads.join("key:A", [part.id], Announced(filename="a.txt"), JobOptions())
    assert scene.partials() == []
    assert await scene.uploads.finish_full() == 0


async def test_only_ones_own_complete_parts_are_joined(scene: Scene) -> None:
    open_part = await scene.create(10, kind="partial")
    plain = await scene.create()
    for ids in ([open_part.id], [plain.id]):
        with pytest.raises(LengthMismatch):
            await scene.uploads.join("key:A", ids, Announced(filename="a.txt"), JobOptions())
    await scene.append(open_part, 0, TEXT[:10])
    with pytest.raises(NotFound):
        await scene.uploads.join("key:B", [open_part.id], Announced(), JobOptions())


async def test_termination_gives_the_room_back(scene: Scene) -> None:
    upload = await scene.create()
    await scene.append(upload, 0, TEXT[:10])
    await scene.uploads.terminate("key:A", upload.id)
    assert scene.partials() == []
    with pytest.raises(UploadGone):
        await scene.offset(upload)


async def test_what_gets_no_byte_for_too_long_expires(scene: Scene) -> None:
    upload = await scene.create()
    scene.clock.pass_time(99)
    await scene.append(upload, 0, TEXT[:10])
    scene.clock.pass_time(99)
    assert await scene.uploads.expire(limit=10) == (0, 0)
    scene.clock.pass_time(2)
    assert await scene.uploads.expire(limit=10) == (1, 10)
    with pytest.raises(UploadGone, match="expired"):
        await scene.offset(upload)


async def test_only_bytes_buy_more_time(scene: Scene) -> None:
    """A slow client must not hold an upload open for ever with requests that bring nothing."""
    upload = await scene.create()
    await scene.append(upload, 0, TEXT[:10])
    for _ in range(3):
        scene.clock.pass_time(30)
        await scene.append(upload, 10, b"")
        await scene.uploads.look("key:A", upload.id)
    scene.clock.pass_time(11)
    assert await scene.uploads.expire(limit=10) == (1, 10)


async def test_open_uploads_count_towards_the_quota(tmp_path: Path) -> None:
    database = await databases.opened(tmp_path / "quota")
    scene = Scene(tmp_path, database, quota=Quota(size_bytes=50_000))
    first = await scene.create(30_000)
    with pytest.raises(QuotaExceeded):
        await scene.create(20_001)
    second = await scene.create(20_000)
    await scene.append(first, 0, TEXT[:10_000])
    await scene.append(first, 10_000, TEXT[:10_000])
    await scene.append(first, 20_000, TEXT[:10_000])
    usage = await database.read(ownership.usage("key:A"))
    assert (usage.kept_bytes, usage.open_bytes) == (30_000, 20_000)
    await scene.uploads.terminate("key:A", second.id)
    assert (await database.read(ownership.usage("key:A"))).total_bytes == 30_000
    await database.close()


async def test_a_digest_that_was_announced_is_held_against_the_whole(scene: Scene) -> None:
    upload = await scene.create(sha256="0" * 64)
    with pytest.raises(Exception, match="sha-256"):
        await scene.append(upload, 0, TEXT)
    with pytest.raises(UploadGone):
        await scene.offset(upload)
