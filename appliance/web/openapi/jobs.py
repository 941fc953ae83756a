"""The operations on jobs, their files and their events."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

from appliance import errors
from appliance.jobs import JobStatus, JobType
from appliance.web import (
    archives,
    events,
    files,
    job_acts,
    jobs,
    pins,
    presets,
    several,
    status,
)
from appliance.web.documents import (
    DeletedJobs,
    Id,
    JobDocument,
    JobPage,
    PinDocument,
    PresetList,
    WholeJob,
)
from appliance.web.openapi.fields import IDEMPOTENCY_KEY, IF_NONE_MATCH
from appliance.web.openapi.operation import (
    CURSOR,
    NEXT,
    Answer,
    Bytes,
    Flag,
    Group,
    Operation,
    Parameter,
    Text,
    asks,
    limit,
)

_JOB = {200: Answer("The job, as it is now.", JobDocument)}
_GONE = {204: Answer("It is gone, with its files.")}
_MOVE = (errors.BadRequest, errors.NotFound, errors.IllegalMove)
_DELETION = (*_MOVE, errors.StorageUnavailable)
_STREAM = {
    200: Answer("An event `job` for each change, with the job as its data.", str,
                ("Cache-Control",), "text/event-stream")
}  # fmt: skip
_LAST_EVENT_ID = Parameter("Last-Event-ID", str, "The id of the last event that arrived.")
_AFTER = Parameter("after", str, "The same as `Last-Event-ID`.")
_UNCHANGED = Answer("Nothing has changed.", None, ("ETag", "Cache-Control"))
_FILE_HEADERS = ("ETag", "Accept-Ranges", "Cache-Control", "Content-Disposition")
FILE_ANSWERS = {
    200: Answer("The file.", Bytes, _FILE_HEADERS, "*/*"),
    206: Answer("The range.", Bytes, (*_FILE_HEADERS, "Content-Range"), "*/*"),
    304: Answer("Nothing has changed.", None, _FILE_HEADERS),
    307: Answer(
        "It is in the store itself, at this address for a minute.",
        None,
        ("Location", "Cache-Control"),
    ),
}
FILE_REFUSALS = (
    errors.NotFound, errors.FileExpired, errors.RangeNotSatisfiable, errors.ObjectMissing,
    errors.ObjectDamaged, errors.StorageUnavailable,
)  # fmt: skip
RANGES = (
    Parameter("Range", str, "`bytes=0-99`: a part of it."),
    Parameter("If-Range", str, "The part only if the `ETag` is this one."),
)
_ZIP = {
    200: Answer("The archive.", Bytes, ("Cache-Control", "Content-Disposition"), "application/zip")
}

JOBS = Group(
    "Jobs",
    "What becomes of a file. A job of somebody else is answered 404, unless you may see it.",
    {
        status.get_status: Operation(
            "Tell a job as it is now",
            {200: Answer("The job.", JobDocument, ("ETag", "Cache-Control")), 304: _UNCHANGED},
            (errors.NotFound,),
            query=(
                Parameter(
                    "wait",
                    Annotated[float, Meta(ge=0, le=status.MAX_WAIT_S)],
                    "Seconds to wait until the status is another one.",
                ),
            ),
            headers=(IF_NONE_MATCH,),
        ),
        jobs.list_jobs: Operation(
            "List jobs, newest first",
            {200: Answer("A page of jobs.", JobPage)},
            query=(
                Parameter("status", JobStatus, "In any case; may be repeated."),
                Parameter("type", JobType, "In any case; may be repeated."),
                Parameter("owner", str, "For those who see everybody's."),
                Parameter("q", Text, "A job's id, an owner, or part of a file name."),
                Parameter("error", Text, "The code of the error."),
                Parameter("preset", Text, "The name of a preset."),
                Parameter("since", Text, "Came then or later: a time, a day, or `24h`, `7d`."),
                Parameter("until", Text, "Came before then."),
                limit(),
                CURSOR,
            ),
        ),
        jobs.get_job: Operation(
            "Tell a job with its attempts and its history",
            {200: Answer("All of the job.", WholeJob)},
            (errors.NotFound,),
        ),
        files.get_file: Operation(
            "Fetch the original or a result",
            FILE_ANSWERS,
            (*FILE_REFUSALS, errors.Quarantined),
            query=(Parameter("download", Flag, "`1`: to be saved, not shown."),),
            headers=(IF_NONE_MATCH, *RANGES),
            curl="-O",
        ),
        archives.get_job_archive: Operation(
            "Fetch the original and all results as a ZIP",
            _ZIP,
            (errors.NotFound, errors.Quarantined, errors.ObjectMissing, errors.ObjectDamaged,
             errors.StorageUnavailable),
            curl="-OJ",
        ),
        archives.get_archive: Operation(
            "Fetch the originals of several jobs as a ZIP",
            _ZIP,
            (errors.BadRequest, errors.NotFound, errors.FileExpired, errors.Quarantined,
             errors.ObjectMissing, errors.ObjectDamaged, errors.StorageUnavailable),
            query=(Parameter("job", Id, "The id of a job; may be repeated."),),
            curl="-OJ",
        ),
        job_acts.cancel_job: Operation("End a job that is not final", _JOB, _MOVE, body=NEXT),
        job_acts.retry_job: Operation(
            "Try a job again that failed, was cancelled or waits", _JOB,
            (*_MOVE, errors.Quarantined, errors.OriginalGone), body=NEXT,
        ),
        job_acts.process_job: Operation(
            "Process the same file again, with a preset",
            {202: Answer("The new job.", JobDocument, ("Location",))},
            (errors.NotFound, errors.Quarantined, errors.OriginalGone, errors.IdempotencyConflict,
             errors.QuotaExceeded, errors.StorageFull, errors.StorageUnavailable),
            headers=(IDEMPOTENCY_KEY,),
            body=asks(job_acts.Wanted),
            curl="""--json '{"preset": "thumbnail"}'""",
        ),
        job_acts.release_job: Operation(
            "Unlock what the virus scanner found infected", _JOB, _MOVE, body=NEXT
        ),
        pins.pin_job: Operation(
            "Keep a job and its files from being deleted",
            {200: Answer("The pin.", PinDocument)},
            (errors.NotFound,),
            body=asks(pins.Pinning),
            curl="""--json '{"reason": "Wanted by the court until 2028."}'""",
        ),
        pins.unpin_job: Operation(
            "Take the pin away", {204: Answer("It is gone.")}, _MOVE, body=NEXT
        ),
        job_acts.delete_job: Operation("Delete a final job", _GONE, _DELETION, body=NEXT),
        job_acts.delete_job_by_form: Operation("Delete a final job", _GONE, _DELETION, body=NEXT),
        several.delete_jobs: Operation(
            "Delete several jobs of one's own, all or none",
            {200: Answer("They are gone.", DeletedJobs)},
            _DELETION,
            body=asks(several.Deleting),
            curl="""--json '{"jobs": ["01M85F1MKT1XZEV6WT98GJ23JH"]}'""",
        ),
        presets.list_presets: Operation(
            "List what can be made of a file", {200: Answer("The presets.", PresetList)}
        ),
    },
)  # fmt: skip

EVENTS = Group(
    "Events",
    "Changes as they happen, as server-sent events.",
    {
        events.get_job_events: Operation(
            "Follow one job until it is final",
            _STREAM,
            (errors.NotFound,),
            query=(_AFTER,),
            headers=(_LAST_EVENT_ID,),
            curl="-N",
        ),
        events.get_events: Operation(
            "Follow all jobs that you may see",
            _STREAM,
            query=(Parameter("mine", Flag, "`1`: your own only."), _AFTER),
            headers=(_LAST_EVENT_ID,),
            curl="-N",
        ),
    },
)
