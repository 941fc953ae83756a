"""Rows to records: what the statements select becomes what the rest of the code works with."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec

from appliance.database.protocol import Row, Statement, Transaction
from appliance.jobs import Job, JobError, JobStatus, JobType, ResultFile, Scan

R = TypeVar("R", bound=msgspec.Struct)

_encode = msgspec.json.encode
_scan = msgspec.json.Decoder(Scan)
_error = msgspec.json.Decoder(JobError)
_object = msgspec.json.Decoder(dict[str, Any])


def as_json(value: Any) -> str:
    """For a column that holds JSON, or a parameter that a statement reads as a list."""
    return _encode(value).decode()


def record(kind: type[R], row: Row) -> R:
    """A record whose fields are columns of the same names."""
    return msgspec.convert(
        {field: row[field] for field in kind.__struct_fields__}, kind, strict=False
    )


_HAVING_FILES = (JobStatus.PROCESSING, JobStatus.COMPLETED)


def with_files(rows: Sequence[Row]) -> Transaction[list[Job]]:
    """Rows of jobs joined with their uploads, as jobs with their results."""
    # Only what is completed or in work has any: lists of what waits or failed are spared the look.
    having = [row["id"] for row in rows if row["status"] in _HAVING_FILES]
    files: dict[str, list[ResultFile]] = defaultdict(list)
    if having:
        file_rows = yield Statement("files_of_jobs", {"job_ids": as_json(having)})
        for row in file_rows:
            files[row["job_id"]].append(record(ResultFile, row))
    return [_job(row, tuple(files[row["id"]])) for row in rows]


_JOB_COLUMNS = tuple(
    name
    for name in Job.__struct_fields__
    if name not in ("status", "type", "scan", "error", "metadata", "result", "files")
)


def _job(row: Row, files: tuple[ResultFile, ...]) -> Job:
    error = row["error"]
    return Job(
        **{column: row[column] for column in _JOB_COLUMNS},
        status=JobStatus(row["status"]),
        type=JobType(row["type"]),
        scan=_scan.decode(row["scan"]),
        error=None if error is None else _error.decode(error),
        metadata=_object.decode(row["metadata"]),
        result=_object.decode(row["result"]),
        files=files,
    )
