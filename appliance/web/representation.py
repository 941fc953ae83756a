"""How records look as JSON: camelCase, times RFC 3339 UTC, sizes in bytes (docs/http.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import msgspec
from aiohttp import web

from appliance import job_documents
from appliance.backups.backups import UnderWay
from appliance.clock import rfc3339
from appliance.database.ages import Outlook
from appliance.database.audit import Act
from appliance.database.backups import Backup
from appliance.database.dead_letters import DeadLetter, Group
from appliance.database.lifecycle import Pin, Used
from appliance.database.ownership import Standing
from appliance.database.pauses import Pause
from appliance.database.redrives import Redrive
from appliance.intake.admission import IntakeLimits
from appliance.job_documents import has_personal_facts as has_personal_facts
from appliance.jobs import Attempt, HistoryEntry, Job, JobType, ResultFile
from appliance.keys import ApiKey, Session
from appliance.people import Person
from appliance.presets.preset import Preset
from appliance.web.documents import (
    ActDocument,
    AttemptDocument,
    BackupDocument,
    BackupUnderWay,
    DeadLetterDocument,
    DeliveryDocument,
    File,
    GroupDocument,
    HistoryDocument,
    JobDocument,
    JobSummary,
    KeyDocument,
    OutlookDocument,
    PauseDocument,
    PersonDocument,
    PinDocument,
    PresetDocument,
    RedriveDocument,
    SecretsDocument,
    SessionDocument,
    TryDocument,
    UsageDocument,
    UsedDocument,
    WebhookDocument,
)
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


def job_document(job: Job, reader: str) -> JobDocument:
    """The job as POST /upload and GET /status give it to `reader`."""
    return cast(JobDocument, job_documents.job_document(job, reader))


def file_document(job_id: str, file: ResultFile) -> File:
    return cast(File, job_documents.file_document(job_id, file))


def used_document(used: Used) -> UsedDocument:
    return {
        "type": used.type,
        "kind": used.kind,
        "place": used.place,
        "files": used.files,
        "bytes": used.size_bytes,
    }


def usage_document(standing: Standing, used: Sequence[Used], limits: IntakeLimits) -> UsageDocument:
    """Of one owner; null: as much as there is room for."""
    usage, quota = standing.usage, standing.quota
    return {
        "bytes": usage.total_bytes,
        "files": usage.files,
        "openUploads": usage.open_uploads,
        "used": [used_document(one) for one in used],
        "quotaBytes": quota.size_bytes,
        "quotaFiles": quota.files,
        "leftBytes": _left(quota.size_bytes, usage.total_bytes),
        "leftFiles": _left(quota.files, usage.files),
        "maxOpenUploads": limits.max_open_uploads,
        "maxUploadBytes": limits.max_upload_bytes,
        "maxTypeBytes": {job_type: limits.max_bytes(job_type) for job_type in JobType},
    }


def preset_document(preset: Preset) -> PresetDocument:
    return {
        "name": preset.name,
        "version": preset.version,
        "description": preset.description,
        "processors": sorted(preset.tables),
    }


def job_summary(job: Job) -> JobSummary:
    """The job as a list gives it."""
    document = job_document(job, job.owner).items()
    kept = {name: value for name, value in document if name in JobSummary.__annotations__}
    return cast(JobSummary, kept)


def attempt_document(attempt: Attempt) -> AttemptDocument:
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


def history_document(entry: HistoryEntry) -> HistoryDocument:
    return {
        "id": entry.id,
        "at": rfc3339(entry.at),
        "status": entry.status,
        "attempt": entry.attempt,
        "detail": entry.detail,
    }


def dead_letter_document(letter: DeadLetter) -> DeadLetterDocument:
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


def group_document(group: Group) -> GroupDocument:
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


def redrive_document(redrive: Redrive) -> RedriveDocument:
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
        "stoppedBy": redrive.stopped_by,
    }


def pause_document(pause: Pause) -> PauseDocument:
    return {
        "kind": pause.kind,
        "name": pause.name,
        "reason": pause.reason,
        "actor": pause.actor,
        "since": rfc3339(pause.since),
        "until": _time(pause.until),
    }


def pin_document(pin: Pin) -> PinDocument:
    return {"reason": pin.reason, "actor": pin.actor, "pinnedAt": rfc3339(pin.pinned_at)}


def outlook_document(outlook: Outlook) -> OutlookDocument:
    return {
        "place": outlook.place,
        "coldAt": _time(outlook.cold_at),
        "deleteOriginalAt": _time(outlook.original_due_at),
        "originalDeletedAt": _time(outlook.expired_at),
        "deleteResultsAt": _time(outlook.results_due_at),
        "keptBy": outlook.kept_by,
    }


def act_document(act: Act) -> ActDocument:
    return {
        "id": act.id,
        "at": rfc3339(act.at),
        "actor": act.actor,
        "action": act.action,
        "subject": act.subject,
        "jobs": act.jobs,
        "detail": act.detail,
    }


def key_document(key: ApiKey, now: float) -> KeyDocument:
    return {
        "keyId": key.id,
        "owner": key.owner,
        "name": key.name,
        "prefix": key.prefix,
        "role": key.role,
        "scopes": key.scopes,
        "state": key.state(now),
        "createdAt": rfc3339(key.created_at),
        "quotaBytes": key.quota_bytes,
        "expiresAt": _time(key.expires_at),
        "revokedAt": _time(key.revoked_at),
        "lastUsedAt": _time(key.last_used_at),
    }


def person_document(person: Person) -> PersonDocument:
    return {
        "personId": person.id,
        "owner": person.owner,
        "name": person.name,
        "email": person.email,
        "role": person.role,
        "firstSeenAt": rfc3339(person.first_seen_at),
        "signedInAt": rfc3339(person.signed_in_at),
        "blockedAt": _time(person.blocked_at),
    }


def backup_document(backup: Backup) -> BackupDocument:
    return {
        "beganAt": rfc3339(backup.began_at),
        "endedAt": _time(backup.ended_at),
        "place": backup.place,
        "snapshot": backup.snapshot,
        "files": backup.files,
        "sizeBytes": backup.size_bytes,
        "newBytes": backup.new_bytes,
        "lackingFiles": backup.lacking,
        "error": backup.error,
        "provenAt": _time(backup.proven_at),
        "faults": backup.faults,
    }


def under_way_document(under_way: UnderWay) -> BackupUnderWay:
    return {
        "what": under_way.what,
        "beganAt": rfc3339(under_way.began_at),
        "bytes": under_way.size_bytes,
    }


def session_document(session: Session, *, current: bool) -> SessionDocument:
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


def webhook_document(webhook: Webhook) -> WebhookDocument:
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


def secrets_document(secrets: Secrets) -> SecretsDocument:
    """The old one is not told: whoever has it, knows it."""
    return {"secret": secrets.secret, "oldSecretUntil": _time(secrets.old_until)}


def delivery_document(delivery: Delivery) -> DeliveryDocument:
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


def try_document(tried: Try) -> TryDocument:
    return {
        "number": tried.number,
        "at": rfc3339(tried.at),
        "tookS": round(tried.took_s, 3),
        "status": tried.status,
        "answer": tried.answer,
        "fault": tried.fault,
    }


def _left(most: int | None, taken: int) -> int | None:
    return None if most is None else max(0, most - taken)


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else rfc3339(seconds)
