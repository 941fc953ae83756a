"""The operations of those who keep things going: dead letters, redrives, pauses, the audit log."""

from __future__ import annotations

from typing import Literal

from appliance import errors
from appliance.jobs import JobType
from appliance.web import audit, dead_letters, pauses, redrives
from appliance.web.documents import (
    ActPage,
    Count,
    DeadLetterPage,
    Fingerprint,
    GroupList,
    PauseDocument,
    PauseList,
    RedriveBegun,
    RedriveDocument,
    RedriveList,
    StoryDocument,
    Time,
)
from appliance.web.openapi.operation import (
    CURSOR,
    NEXT,
    Answer,
    Group,
    Operation,
    Parameter,
    Text,
    asks,
    limit,
)

_PAUSED = {200: Answer("The pause.", PauseDocument)}
_ENDED = {204: Answer("It has ended.")}

DEAD_LETTERS = Group(
    "Dead letters",
    "Jobs that were given up, until somebody has them tried again or discards them.",
    {
        dead_letters.list_dead_letters: Operation(
            "List dead letters, newest job first",
            {200: Answer("A page of them.", DeadLetterPage)},
            query=(
                Parameter("fingerprint", Fingerprint, "Of a group."),
                Parameter("owner", Text, "Whose jobs."),
                Parameter("type", JobType, "In any case."),
                Parameter("code", Text, "Of the error, such as `child_crashed`."),
                Parameter("since", Time, "Failed then or later."),
                Parameter("until", Time, "Failed before then."),
                limit(),
                CURSOR,
            ),
        ),
        dead_letters.list_groups: Operation(
            "List those that failed alike, the largest group first",
            {200: Answer("The groups.", GroupList)},
            query=(limit(),),
        ),
        dead_letters.get_dead_letter: Operation(
            "Tell one with its attempts and its history",
            {200: Answer("The dead letter.", StoryDocument)},
            (errors.NotFound,),
        ),
        dead_letters.retry_dead_letters: Operation(
            "Try jobs again: by their ids, or all that match a filter",
            {202: Answer("What was begun.", RedriveBegun)},
            body=asks(dead_letters.Another),
            curl="""--json '{"filter": {"code": "child_crashed"}, "staged": true}'""",
        ),
        dead_letters.discard_dead_letters: Operation(
            "End the review of jobs, which stay failed",
            {200: Answer("How many.", Count)},
            body=asks(dead_letters.Selection),
            curl="""--json '{"ids": ["01M85F1MKT1XZEV6WT98GJ23JH"]}'""",
        ),
        redrives.list_redrives: Operation(
            "List what was tried again, newest first",
            {200: Answer("The redrives.", RedriveList)},
            query=(limit(redrives.RECENT), CURSOR),
        ),
        redrives.get_redrive: Operation(
            "Tell how far a redrive is",
            {200: Answer("The redrive.", RedriveDocument)},
            (errors.NotFound,),
        ),
        redrives.stop_redrive: Operation(
            "Try no more jobs of it",
            {200: Answer("The redrive.", RedriveDocument)},
            (errors.BadRequest, errors.NotFound),
            body=NEXT,
        ),
    },
)

PAUSES = Group(
    "Pauses",
    "What is stopped: nothing new of a type or an owner is begun.",
    {
        pauses.list_pauses: Operation(
            "List the pauses in force", {200: Answer("Those that you may see.", PauseList)}
        ),
        pauses.put_pause: Operation(
            "Begin a pause, or change it",
            _PAUSED,
            body=asks(pauses.Terms),
            curl="""--json '{"reason": "The codec is being mended.", "forS": 3600}'""",
        ),
        pauses.delete_pause: Operation("End a pause", _ENDED, (errors.BadRequest, errors.NotFound)),
        pauses.begin_pause: Operation(
            "Begin a pause, for forms",
            _PAUSED,
            body=asks(pauses.NamedTerms),
            curl="""--json '{"kind": "type", "name": "VIDEO", "reason": "Mending."}'""",
        ),
        pauses.end_pause: Operation(
            "End a pause, for forms",
            _ENDED,
            (errors.NotFound,),
            body=asks(pauses.Named),
            curl="""--json '{"kind": "type", "name": "VIDEO"}'""",
        ),
    },
)

AUDIT = Group(
    "The audit log",
    "What was done to what is not one's own, and what was refused.",
    {
        audit.list_acts: Operation(
            "List what was done, newest first",
            {
                200: Answer(
                    "A page of acts, or all of them as a file.",
                    ActPage,
                    ("Content-Disposition", "Cache-Control"),
                    also=tuple(audit.EXPORTS.values()),
                )
            },
            query=(
                Parameter("actor", Text, "Who did it."),
                Parameter("action", Text, "What was done, such as `job.cancel`."),
                Parameter("subject", Text, "What it was done to."),
                Parameter("since", Time, "Then or later."),
                Parameter("until", Time, "Before then."),
                Parameter("format", Literal["json", "csv", "jsonl"], "How; files hold all acts."),
                limit(),
                CURSOR,
            ),
        ),
    },
)
