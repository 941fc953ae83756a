"""The operations on keys and sessions, and on the server itself."""

from __future__ import annotations

from typing import Any

from appliance import errors
from appliance.jobs import JobType
from appliance.web import access, backups, contract, health, metrics_page, people, usage
from appliance.web.documents import (
    Alive,
    AllUsage,
    BackupDocument,
    BackupList,
    FiguresDocument,
    KeyMade,
    KeyPage,
    PersonDocument,
    PersonList,
    Readiness,
    SessionPage,
    UsageDocument,
)
from appliance.web.openapi.fields import IF_NONE_MATCH
from appliance.web.openapi.operation import (
    CURSOR,
    NEXT,
    Answer,
    Group,
    Operation,
    Parameter,
    asks,
    limit,
)

_ENDED = {204: Answer("It has ended.")}
_FINDING = (errors.BadRequest, errors.NotFound)

ACCESS = Group(
    "Keys and sessions",
    "API keys for programs, and the browsers that are signed in.",
    {
        access.list_keys: Operation(
            "List API keys, newest first",
            {200: Answer("A page of keys.", KeyPage)},
            query=(limit(), CURSOR),
        ),
        access.create_key: Operation(
            "Make an API key",
            {201: Answer("The key, with its secret.", KeyMade, ("Cache-Control",))},
            body=asks(access.NewKey),
            curl="""--json '{"name": "backup", "scopes": ["upload"], "expiresInS": 7776000}'""",
        ),
        access.revoke_key: Operation("Revoke a key, at once", _ENDED, _FINDING, body=NEXT),
        access.revoke_key_by_form: Operation("Revoke a key, at once", _ENDED, _FINDING, body=NEXT),
        access.list_sessions: Operation(
            "List the sessions in force that you may see",
            {200: Answer("A page of sessions.", SessionPage)},
            query=(limit(), CURSOR),
        ),
        people.list_people: Operation(
            "List those who sign in at the provider", {200: Answer("The latest.", PersonList)}
        ),
        people.block: Operation(
            "Sign somebody out, and let them in no more",
            {200: Answer("The person.", PersonDocument)},
            _FINDING,
            body=NEXT,
        ),
        people.unblock: Operation(
            "Let somebody in again",
            {200: Answer("The person.", PersonDocument)},
            _FINDING,
            body=NEXT,
        ),
        usage.get_usage: Operation(
            "Tell what you have here, and how much you may",
            {200: Answer("Your use and your limits.", UsageDocument)},
        ),
        usage.get_usage_of_all: Operation(
            "Tell what everybody has here",
            {200: Answer("In all, and of those who have the most.", AllUsage)},
            query=(limit(),),
        ),
        access.end_session: Operation("End a session", _ENDED, _FINDING, body=NEXT),
        access.end_session_by_form: Operation("End a session", _ENDED, _FINDING, body=NEXT),
    },
)

SYSTEM = Group(
    "The server",
    "How it is, and what it speaks.",
    {
        health.get_healthz: Operation("Tell that it is alive", {200: Answer("Alive.", Alive)}),
        health.get_readyz: Operation(
            "Tell whether uploads are taken",
            {200: Answer("Ready.", Readiness), 503: Answer("Not ready.", Readiness)},
        ),
        health.get_metrics: Operation(
            "Give the figures for Prometheus",
            {200: Answer("Prometheus text.", str, media="text/plain")},
        ),
        metrics_page.get_history: Operation(
            "Give the figures of an hour, a day or a week",
            {200: Answer("The figures, slot by slot.", FiguresDocument)},
            query=(
                Parameter("range", metrics_page.Range, "In any case; the hour without."),
                Parameter("type", JobType, "Of one type; in any case."),
            ),
        ),
        backups.list_backups: Operation(
            "List the backups that were taken, newest first",
            {200: Answer("Those that are recorded, a hundred at most.", BackupList)},
        ),
        backups.take_backup: Operation(
            "Take a backup now",
            {202: Answer("It has begun.", BackupDocument)},
            (errors.BackupRunning, errors.NoBackupPlace),
            body=NEXT,
        ),
        contract.get_openapi: Operation(
            "Give this contract, for programs",
            {
                200: Answer("OpenAPI 3.1.", dict[str, Any], ("ETag", "Cache-Control")),
                304: Answer("Nothing has changed.", None, ("ETag", "Cache-Control")),
            },
            headers=(IF_NONE_MATCH,),
        ),
    },
)
