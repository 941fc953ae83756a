"""Every error that the appliance tells somebody about, in one tree.

Each class carries a stable `code` (part of the HTTP contract and of a failed job), the HTTP
status that the web layer answers with, and a default message. Whoever raises one adds a
message that says how to mend it. Adapters translate a driver's error into one of these and
keep the driver's as the cause; handlers do not catch them, one middleware answers them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from appliance.permissions import Permission

_IANA = "https://iana.org/assignments/http-problem-types#"


class ApplianceError(Exception):
    """Something went wrong that we have a name for."""

    code: ClassVar[str] = "internal_error"
    status: ClassVar[int] = 500
    title: ClassVar[str] = "The server could not do this"
    type: ClassVar[str] = "about:blank"
    """The URI of a problem type that IANA has registered, for those who know it (RFC 9457)."""

    def __init__(
        self, detail: str | None = None, *, retry_after_s: float | None = None, **extra: Any
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.retry_after_s = retry_after_s
        """When to come back, where whoever failed has said so."""
        self.extra = extra
        """Further members of the problem document (RFC 9457, section 3.2), JSON values only."""


# --- the request -------------------------------------------------------------------------


class BadRequest(ApplianceError):
    code = "bad_request"
    status = 400
    title = "The request is not well formed"


class MultipartInvalid(BadRequest):
    code = "multipart_invalid"
    title = "The multipart body is not well formed"


class NoFile(BadRequest):
    code = "no_file"
    title = "The request holds no file"


class EmptyFile(BadRequest):
    code = "empty_file"
    title = "The file is empty"


class IncompleteBody(BadRequest):
    code = "incomplete_body"
    title = "The connection ended before the file was complete"


class RequestTimeout(ApplianceError):
    code = "request_timeout"
    status = 408
    title = "The request comes too slowly"


class DigestMismatch(BadRequest):
    code = "digest_mismatch"
    title = "The file does not have the digest that the request declares"


class OffsetMismatch(ApplianceError):
    """`extra` has the offset of the upload and the one that was sent."""

    code = "offset_mismatch"
    status = 409
    title = "The upload is at another offset"
    type = _IANA + "mismatching-upload-offset"


class UploadCompleted(ApplianceError):
    code = "upload_completed"
    status = 409
    title = "The upload is complete; nothing can be appended to it"
    type = _IANA + "completed-upload"


class UploadGone(ApplianceError):
    code = "upload_gone"
    status = 410
    title = "The upload has expired, was cancelled, or was refused"


class UploadTakenOver(ApplianceError):
    code = "upload_taken_over"
    status = 409
    title = "Another request goes on with this upload"


class LengthMismatch(BadRequest):
    code = "length_mismatch"
    title = "The lengths that were told of the upload contradict each other"
    type = _IANA + "inconsistent-upload-length"


class LengthExceeded(ApplianceError):
    code = "length_exceeded"
    status = 413
    title = "More bytes came than the upload was announced to have"
    type = _IANA + "inconsistent-upload-length"


class ChecksumMismatch(ApplianceError):
    """tus 1.0.0, checksum: 460 is its own status."""

    code = "checksum_mismatch"
    status = 460
    title = "The bytes that came do not have the checksum that was sent with them"


class IdempotencyConflict(ApplianceError):
    code = "idempotency_conflict"
    status = 409
    title = "This Idempotency-Key was used for something else"


class ResumptionUnsupported(ApplianceError):
    code = "resumption_unsupported"
    status = 501
    title = "The store of this server cannot resume uploads"


class TusVersionRefused(ApplianceError):
    code = "tus_version_refused"
    status = 412
    title = "This server speaks tus 1.0.0"


class ContentTypeRefused(ApplianceError):
    """Of a request that appends, not of a file."""

    code = "content_type_refused"
    status = 415
    title = "Bytes are appended under another content type"


class QuotaExceeded(ApplianceError):
    code = "quota_exceeded"
    status = 413
    title = "This would take more than your quota"


class TooManyOpenUploads(ApplianceError):
    code = "too_many_open_uploads"
    status = 429
    title = "There are too many unfinished uploads of yours"


class TooManyConnections(ApplianceError):
    code = "too_many_connections"
    status = 429
    title = "There are too many connections from your address"


class RateLimited(ApplianceError):
    """`extra` has the `policy`: uploads, requests or anonymous."""

    code = "rate_limited"
    status = 429
    title = "That is too much in too short a time"


class TooManyParts(ApplianceError):
    code = "too_many_parts"
    status = 413
    title = "The request holds too many parts"


class FileTooLarge(ApplianceError):
    code = "file_too_large"
    status = 413
    title = "The file is larger than this server takes"


class FileTypeRefused(ApplianceError):
    code = "file_type_refused"
    status = 415
    title = "This server does not take files of this type"


class FileTypeMismatch(ApplianceError):
    code = "file_type_mismatch"
    status = 415
    title = "The file's name or declared type contradicts its content"


class NotSignedIn(ApplianceError):
    code = "not_signed_in"
    status = 401
    title = "This needs a key or a sign-in"


class SignInRefused(ApplianceError):
    """By the provider, or of what it answered."""

    code = "sign_in_refused"
    status = 403
    title = "This sign-in did not succeed"


class Forbidden(ApplianceError):
    code = "forbidden"
    status = 403
    title = "Your key does not allow this"


class NotPermitted(Forbidden):
    """Somebody lacks `permission` (`appliance.permissions`)."""

    def __init__(self, detail: str, permission: Permission) -> None:
        super().__init__(detail)
        self.permission = permission


class TooManyAttempts(ApplianceError):
    code = "too_many_attempts"
    status = 429
    title = "There were too many wrong keys from your address, or for this key"


class NotFound(ApplianceError):
    code = "not_found"
    status = 404
    title = "There is nothing here, or it is not yours"


class Quarantined(ApplianceError):
    code = "quarantined"
    status = 403
    title = "The virus scanner holds the file back"


class MethodNotAllowed(ApplianceError):
    code = "method_not_allowed"
    status = 405
    title = "This address does not take this method"


class ContentEncodingRefused(ApplianceError):
    code = "content_encoding_refused"
    status = 415
    title = "Uploads are taken as they are, without a content encoding"


class IllegalMove(ApplianceError):
    """What is asked for is not possible in the state that the job is in. `extra` has `jobStatus`
    (`status` is the answer's own, RFC 9457) and what is `possible`."""

    code = "illegal_move"
    status = 409
    title = "The job is in a state that does not allow this"


class TooManyWebhooks(ApplianceError):
    code = "too_many_webhooks"
    status = 409
    title = "You have as many webhooks as one owner may have"


class WebhookInactive(ApplianceError):
    code = "webhook_inactive"
    status = 409
    title = "The webhook is switched off"


class OriginalGone(ApplianceError):
    code = "original_gone"
    status = 409
    title = "The original is gone from the server"


class RangeNotSatisfiable(ApplianceError):
    code = "range_not_satisfiable"
    status = 416
    title = "The file has no such range"


# --- the surroundings --------------------------------------------------------------------


class StorageFull(ApplianceError):
    code = "storage_full"
    status = 507
    title = "The server's disk is full"


class StorageUnavailable(ApplianceError):
    code = "storage_unavailable"
    status = 503
    title = "The file storage does not answer"


class StorageRefused(StorageUnavailable):
    """It answers, and refuses, until somebody mends the settings there or here."""


class DatabaseUnavailable(ApplianceError):
    code = "database_unavailable"
    status = 503
    title = "The database does not answer"


class DatabaseCorrupt(DatabaseUnavailable):
    code = "database_corrupt"
    status = 503
    title = "The database file is damaged"


class BackupInvalid(ApplianceError):
    """What should be a backup is none, or not a whole one."""

    code = "backup_invalid"
    title = "This is no backup that can be used"


class BackupRunning(ApplianceError):
    """Two at once would copy the same files twice, and thin each other out."""

    code = "backup_running"
    status = 409
    title = "A backup is being taken or proven already; wait until it has ended"


class NoBackupPlace(ApplianceError):
    code = "no_backup_place"
    status = 409
    title = "No place for backups is set; set APPLIANCE_BACKUP_URL and start the server again"


class ScannerUnavailable(ApplianceError):
    code = "scanner_unavailable"
    status = 503
    title = "The virus scanner does not answer"


class ShuttingDown(ApplianceError):
    code = "shutting_down"
    status = 503
    title = "The server is stopping"


class NurseryUnavailable(ApplianceError):
    """No attempt was begun, so none is burnt."""

    code = "nursery_unavailable"
    status = 503
    title = "The process that starts media work does not come up"


class SandboxUnavailable(NurseryUnavailable):
    """Walls around children are missing that must be there; `faults` has each, with its mend."""

    def __init__(self, missing: dict[str, str]) -> None:
        """`missing`: names of layers, each with why it does not hold."""
        self.faults = [
            f"APPLIANCE_SANDBOX: the layer {name} does not hold: {why}. Mend that "
            "(docs/sandbox.md), or set `prefer` to go on without it."
            for name, why in missing.items()
        ]
        super().__init__(" ".join(self.faults))


class IssuerUnavailable(ApplianceError):
    code = "issuer_unavailable"
    status = 503
    title = "The issuer of tokens does not answer"


class OutgoingFailed(ApplianceError):
    """A request of the server's own; who asks for it decides what follows."""

    code = "outgoing_failed"
    status = 503
    title = "Another server could not be asked"


class LinkEnded(ApplianceError):
    code = "link_ended"
    status = 410
    title = "This link is not good any more"


class FileExpired(ApplianceError):
    code = "file_expired"
    status = 410
    title = "The file was deleted by its age"


class ObjectMissing(ApplianceError):
    code = "object_missing"
    status = 500
    title = "A stored file is not where it should be"


class ObjectDamaged(ObjectMissing):
    """It is there, and it is not what was stored."""

    code = "object_damaged"
    status = 500
    title = "A stored file was changed or is damaged"


# --- the work on a file ------------------------------------------------------------------


class ProcessingError(ApplianceError):
    """An attempt at a job failed. `permanent` faults are in the file and burn no retries."""

    code = "processing_failed"
    title = "The file could not be processed"
    permanent: ClassVar[bool] = False


class CorruptFile(ProcessingError):
    code = "corrupt_file"
    title = "The file is damaged"
    permanent = True


class InfectedFile(ProcessingError):
    code = "infected_file"
    title = "The virus scanner found something in the file"
    permanent = True


class NotScanned(ProcessingError):
    """Where only what was found clean is worked on."""

    code = "not_scanned"
    title = "The file cannot be scanned for viruses"
    permanent = True


class EncryptedFile(ProcessingError):
    code = "encrypted_file"
    title = "The file is password-protected"
    permanent = True


class EmptyDocument(ProcessingError):
    code = "empty_document"
    title = "The document has no pages"
    permanent = True


class UnsupportedFile(ProcessingError):
    code = "unsupported_file"
    title = "The file uses a feature that is not supported"
    permanent = True


class LimitExceeded(ProcessingError):
    code = "limit_exceeded"
    title = "The file is beyond a processing limit"
    permanent = True


class ChildCrashed(ProcessingError):
    code = "child_crashed"
    title = "The process that worked on the file ended unexpectedly"


class ChildTimedOut(ProcessingError):
    code = "child_timed_out"
    title = "The work on the file took too long"


class OutOfMemory(ProcessingError):
    code = "out_of_memory"
    title = "The work on the file needed more memory than it may use"


class OutputRefused(ProcessingError):
    code = "output_refused"
    title = "The work on the file left a result that may not be kept"
    permanent = True


class PresetUnknown(ProcessingError):
    """It was there when the job came in."""

    code = "preset_unknown"
    title = "The job's preset is not there any more"
    permanent = True


class SandboxFailed(ProcessingError):
    code = "sandbox_failed"
    title = "The walls around the work on the file could not be raised, so it was not opened"


class WorkerLost(ProcessingError):
    code = "worker_lost"
    title = "The workers that tried this file vanished again and again"


class ConfigurationError(ApplianceError):
    """The configuration has faults; `faults` lists all of them, each with its mend."""

    code = "configuration"
    title = "The configuration has faults"

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


def codes_below(branch: type[ApplianceError]) -> list[str]:
    """The codes of what a branch of the tree holds."""
    return sorted(
        code for error in branch.__subclasses__() for code in (error.code, *codes_below(error))
    )
