"""Jobs as the server tells of them."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from appliance.client.connection import Connection
from appliance.client.failures import MayPass, Refused
from appliance.client.patience import Patience
from appliance.ids import is_id
from appliance.jobs import JobStatus

LONG_POLL_S = 30.0


class Read(msgspec.Struct, frozen=True, rename="camel"):
    """What we look at in a job's document."""

    job_id: str
    status: JobStatus
    filename: str
    sha256: str
    progress: float

    @property
    def has_failed(self) -> bool:
        return self.status in (JobStatus.FAILED, JobStatus.CANCELLED)


def of(document: Any) -> Read:
    """Raises Refused."""
    try:
        job = msgspec.convert(document, Read)
    except msgspec.ValidationError as error:
        raise Refused(f"The server answered something that is no job ({error}).", status=200) from (
            error
        )
    if not is_id(job.job_id):
        raise Refused("The server answered a job whose id is none.", status=200)
    return job


async def read(
    connection: Connection, job_id: str, *, patience: Patience, wait_s: float = 0.0
) -> dict[str, Any]:
    """The job's document; with `wait_s`, when its status has changed or the time is over."""
    query = f"?wait={wait_s:g}" if wait_s else ""
    while True:
        try:
            answer = await connection.request(
                "GET", f"/status/{job_id}{query}", answer_s=wait_s + 30
            )
        except MayPass as failure:
            await patience.wait(failure)
            continue
        patience.renew()
        document = answer.json()
        of(document)
        return dict(document)


async def process(
    connection: Connection, job_id: str, *, preset: str, priority: int, patience: Patience
) -> dict[str, Any]:
    """The document of a new job on the file of that one: one job, however often an answer is
    lost."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": secrets.token_hex(16)}
    asked = msgspec.json.encode({"preset": preset, "priority": priority})
    while True:
        try:
            answer = await connection.request(
                "POST", f"/jobs/{job_id}/process", headers=headers, body=_at_once(asked)
            )
        except MayPass as failure:
            await patience.wait(failure)
            continue
        document = answer.json()
        of(document)
        return dict(document)


async def _at_once(body: bytes) -> AsyncIterator[bytes]:
    yield body


async def final(
    connection: Connection,
    job_id: str,
    *,
    patience: Patience,
    moved: Callable[[dict[str, Any]], None] = lambda _document: None,
) -> dict[str, Any]:
    """The job's document when its status is final; `moved` is told what it is before."""
    document = await read(connection, job_id, patience=patience)
    while not of(document).status.is_final:
        moved(document)
        # While it is worked on, what people want to see move is the progress.
        wait_s = 1.0 if of(document).status == JobStatus.PROCESSING else LONG_POLL_S
        document = await read(connection, job_id, patience=patience, wait_s=wait_s)
    return document
