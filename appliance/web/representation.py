"""How records look as JSON: camelCase, times RFC 3339 UTC, sizes in bytes (docs/http.md)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from aiohttp import web

from appliance.clock import rfc3339
from appliance.database.audit import Act
from appliance.database.dead_letters import DeadLetter, Group
from appliance.database.pauses import Pause
from appliance.database.redrives import Redrive
from appliance.job_documents import file_document as file_document
from appliance.job_documents import has_personal_facts as has_personal_facts
from appliance.job_documents import job_document as job_document
from appliance.jobs import Attempt, HistoryEntry, Job
from appliance.keys import ApiKey, Session
from appliance.presets.preset import Preset
from appliance.webhooks import Delivery, Secrets, Try, Webhook

encode = msgspec.json.encode


def json_response(
    document: Any, *, status: int = 200, headers: Mapping[str, str] | None = None
) -> web.Response:
    return web.Response(
        body=encode(document), status=status, headers=headers, content_type="application/json"
    )


def is_known(if_none_match: str | None, etag: str) -> bool:
    """Whether the client has what `etag` names already (RFC 9110, 13.1.2: weak comparison)."""
    if if_none_match is None:
        return False
    known = [tag.strip().removeprefix("W/") for tag in if_none_match.split(",")]
    return etag in known or known == ["*"]


def preset_document(preset: Preset) -> dict[str, Any]:
    return {
        "name": preset.name,
        "version": preset.version,
        "description": preset.description,
        "processors": sorted(preset.tables),
    }


def job_summary(job: Job) -> dict[str, Any]:
    """The job as a list gives it."""
    document = job_document(job, job.owner)
    for name in ("sha256", "metadata", "result", "scan"):
        del document[name]
    return document


def attempt_document(attempt: Attempt) -> dict[str, Any]:
    return {
        "number": attempt.number,
        "worker": attempt.worker,
        "startedAt": rfc3339(attempt.started_at),
        "endedAt": _time(attempt.ended_at),
        "outcome": attempt.outcome,
        "step": attempt.step,
        "errorCode": attempt.error_code,
        "errorClass": attempt.error_class,
        "message": attempt.message,
        "stderrTail": attempt.stderr_tail,
    }


def history_document(entry: HistoryEntry) -> dict[str, Any]:
    return {
        "id": entry.id,
        "at": rfc3339(entry.at),
        "status": entry.status,
        "attempt": entry.attempt,
        "detail": entry.detail,
    }


def dead_letter_document(letter: DeadLetter) -> dict[str, Any]:
    return {
        "jobId": letter.job_id,
        "at": rfc3339(letter.created_at),
        "owner": letter.owner,
        "type": letter.type,
        "filename": letter.filename,
        "sizeBytes": letter.size_bytes,
        "errorCode": letter.error_code,
        "errorClass": letter.error_class,
        "step": letter.step,
        "message": letter.message,
        "fingerprint": letter.fingerprint,
    }


def group_document(group: Group) -> dict[str, Any]:
    return {
        "fingerprint": group.fingerprint,
        "type": group.type,
        "errorCode": group.error_code,
        "errorClass": group.error_class,
        "step": group.step,
        "message": group.message,
        "jobs": group.jobs,
        "firstAt": rfc3339(group.first_at),
        "lastAt": rfc3339(group.last_at),
        "example": group.example,
    }


def redrive_document(redrive: Redrive) -> dict[str, Any]:
    return {
        "redriveId": redrive.id,
        "state": redrive.state,
        "actor": redrive.actor,
        "filter": redrive.filter.document(),
        "staged": redrive.staged,
        "wave": redrive.wave,
        "counts": redrive.counts,
        "waveCounts": redrive.wave_counts,
        "createdAt": rfc3339(redrive.created_at),
        "endedAt": _time(redrive.ended_at),
    }


def pause_document(pause: Pause) -> dict[str, Any]:
    return {
        "kind": pause.kind,
        "name": pause.name,
        "reason": pause.reason,
        "actor": pause.actor,
        "since": rfc3339(pause.since),
        "until": _time(pause.until),
    }


def act_document(act: Act) -> dict[str, Any]:
    return {
        "id": act.id,
        "at": rfc3339(act.at),
        "actor": act.actor,
        "action": act.action,
        "subject": act.subject,
        "jobs": act.jobs,
        "detail": act.detail,
    }


def key_document(key: ApiKey, now: float) -> dict[str, Any]:
    return {
        "keyId": key.id,
        "owner": key.owner,
        "name": key.name,
        "prefix": key.prefix,
        "role": key.role,
        "scopes": key.scopes,
        "state": key.state(now),
        "createdAt": rfc3339(key.created_at),
        "expiresAt": _time(key.expires_at),
        "revokedAt": _time(key.revoked_at),
        "lastUsedAt": _time(key.last_used_at),
    }


def session_document(session: Session, *, current: bool) -> dict[str, Any]:
    return {
        "sessionId": session.id,
        "owner": session.owner,
        "name": session.name,
        "role": session.role,
        "address": session.address,
        "agent": session.agent,
        "createdAt": rfc3339(session.created_at),
        "expiresAt": rfc3339(session.expires_at),
        "lastUsedAt": _time(session.last_used_at),
        "current": current,
    }


def webhook_document(webhook: Webhook) -> dict[str, Any]:
    return {
        "webhookId": webhook.id,
        "owner": webhook.owner,
        "url": webhook.url,
        "events": webhook.events,
        "description": webhook.description,
        "active": webhook.active,
        "createdAt": rfc3339(webhook.created_at),
        "failingSince": _time(webhook.failing_since),
        "disabledAt": _time(webhook.disabled_at),
        "disabledReason": webhook.disabled_reason,
    }


def secrets_document(secrets: Secrets) -> dict[str, Any]:
    """The old one is not told: whoever has it, knows it."""
    return {"secret": secrets.secret, "oldSecretUntil": _time(secrets.old_until)}


def delivery_document(delivery: Delivery) -> dict[str, Any]:
    return {
        "deliveryId": delivery.id,
        "webhookId": delivery.webhook_id,
        "jobId": delivery.job_id,
        "owner": delivery.owner,
        "event": delivery.event,
        "url": delivery.url,
        "state": delivery.state,
        "attempt": delivery.attempt,
        "createdAt": rfc3339(delivery.created_at),
        "dueAt": _time(delivery.due_at),
        "endedAt": _time(delivery.ended_at),
    }


def try_document(tried: Try) -> dict[str, Any]:
    return {
        "number": tried.number,
        "at": rfc3339(tried.at),
        "tookS": round(tried.took_s, 3),
        "status": tried.status,
        "answer": tried.answer,
        "fault": tried.fault,
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)
