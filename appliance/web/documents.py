"""What each JSON document holds: the types that `appliance.web.representation` returns.

mypy holds the code to them, and the schemas of /openapi.json are made of them, so neither can say
something else than the other. A member's description stands in its type.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from appliance.database.pauses import Kind
from appliance.database.redrives import Counts, State
from appliance.ids import SHAPE
from appliance.jobs import JobError, JobStatus, JobType, Scan
from appliance.permissions import Role, Scope
from appliance.webhooks import DeliveryState

Id = Annotated[str, Meta(pattern=f"^{SHAPE}$", description="A ULID.")]
Time = Annotated[
    str, Meta(extra_json_schema={"format": "date-time"}, description="RFC 3339, in UTC.")
]
Sha256 = Annotated[str, Meta(pattern="^[0-9a-f]{64}$", description="In hexadecimal digits.")]
Fingerprint = Annotated[
    str, Meta(pattern="^[0-9a-f]{16}$", description="The same for what failed alike.")
]
Owner = Annotated[str, Meta(description="`key:<id>` of an API key, `jwt:…` of a token.")]
Size = Annotated[int, Meta(ge=0)]
NextCursor = Annotated[
    str | None, Meta(description="What `cursor` takes for the next page; null on the last.")
]


class File(TypedDict):
    """A result of a job."""

    name: str
    contentType: str
    sizeBytes: Size
    sha256: Sha256
    width: int | None
    height: int | None
    url: Annotated[str, Meta(description="Its path on this server.")]


class JobSummary(TypedDict):
    """A job as a list gives it."""

    jobId: Id
    status: JobStatus
    type: JobType
    filename: str
    contentType: Annotated[str, Meta(description="As found in the bytes.")]
    sizeBytes: Size
    owner: Owner
    preset: str
    presetVersion: Annotated[
        int | None, Meta(description="Of the preset that made the results; null until then.")
    ]
    priority: Annotated[int, Meta(ge=0, le=9, description="Larger goes first.")]
    attempt: Annotated[int, Meta(ge=0, description="Which of `maxAttempts` this is, or was.")]
    maxAttempts: Annotated[int, Meta(ge=1)]
    progress: Annotated[float, Meta(ge=0, le=1)]
    step: Annotated[str | None, Meta(description="What the present attempt is doing.")]
    createdAt: Time
    startedAt: Time | None
    finishedAt: Time | None
    nextAttemptAt: Time | None
    error: JobError | None
    files: list[File]
    filesLeft: Annotated[
        Literal["all", "original", "results"],
        Meta(description="What is left where the others were deleted by their age."),
    ]
    statusUrl: str


class JobDocument(JobSummary):
    """A job."""

    sha256: Sha256
    scan: Scan
    metadata: Annotated[dict[str, Any], Meta(description="As it was sent with the file.")]
    result: Annotated[dict[str, Any], Meta(description="Facts of the file, by its type.")]


class Jobs(TypedDict):
    """Of one request with several files."""

    jobs: list[JobDocument]


class JobPage(TypedDict):
    jobs: list[JobSummary]
    nextCursor: NextCursor


class AttemptDocument(TypedDict):
    """One try at a job, by one worker."""

    number: Annotated[int, Meta(ge=1)]
    worker: str
    startedAt: Time
    endedAt: Time | None
    outcome: Annotated[
        str | None,
        Meta(
            description="`completed`, `retry`, `failed`, `handed_back`, `lost`, `cancelled`; "
            "null while it runs."
        ),
    ]
    step: str | None
    errorCode: str | None
    errorClass: str | None
    message: str | None
    stderrTail: str | None


class HistoryDocument(TypedDict):
    """One move in a job's life."""

    id: int
    at: Time
    status: JobStatus
    attempt: int
    detail: str | None


class PinDocument(TypedDict):
    """Keeps a job and its files from being deleted."""

    reason: str
    actor: str
    pinnedAt: Time


class OutlookDocument(TypedDict):
    """Where a job's original is, and what becomes of its files."""

    place: Literal["hot", "cold", "deleted"]
    coldAt: Annotated[
        Time | None, Meta(description="When the original goes to the cold place; null: not again.")
    ]
    deleteOriginalAt: Annotated[
        Time | None, Meta(description="When it is deleted by its age; null: never, or kept.")
    ]
    originalDeletedAt: Annotated[Time | None, Meta(description="When it was.")]
    deleteResultsAt: Time | None
    keptBy: Annotated[
        Literal["pin", "review"] | None, Meta(description="What keeps files beyond their age.")
    ]


class WholeJob(JobDocument):
    """A job with its attempts, its history, the pin that keeps it, and what becomes of its files
    with age."""

    attempts: list[AttemptDocument]
    history: list[HistoryDocument]
    pin: PinDocument | None
    lifecycle: OutlookDocument | None


class PresetDocument(TypedDict):
    name: str
    version: int
    description: str
    processors: Annotated[list[str], Meta(description="Those that it says something about.")]


class PresetList(TypedDict):
    presets: list[PresetDocument]


class DeadLetterDocument(TypedDict):
    """A job that was given up."""

    jobId: Id
    at: Time
    owner: Owner
    type: JobType
    filename: str
    sizeBytes: Size
    errorCode: str
    errorClass: str
    step: str
    message: str
    fingerprint: Fingerprint


class DeadLetterPage(TypedDict):
    deadLetters: list[DeadLetterDocument]
    nextCursor: NextCursor
    matching: Annotated[int, Meta(ge=0, description="How many match in all.")]


class StoryDocument(DeadLetterDocument):
    """A dead letter, with all that is known of how it came to it."""

    others: Annotated[int, Meta(ge=0, description="That failed alike.")]
    job: JobDocument
    attempts: list[AttemptDocument]
    history: list[HistoryDocument]


class GroupDocument(TypedDict):
    """Dead letters with the same fingerprint."""

    fingerprint: Fingerprint
    type: JobType
    errorCode: str
    errorClass: str
    step: str
    message: Annotated[str, Meta(description="Of the latest.")]
    jobs: Annotated[int, Meta(ge=1, description="How many.")]
    firstAt: Time
    lastAt: Time
    example: Annotated[Id, Meta(description="The newest of its jobs.")]


class GroupList(TypedDict):
    groups: list[GroupDocument]


class RedriveDocument(TypedDict):
    """Dead letters that are tried again."""

    redriveId: Id
    state: State
    actor: Owner
    filter: Annotated[dict[str, Any], Meta(description="As it was asked for.")]
    staged: bool
    wave: int
    counts: Counts
    waveCounts: Counts
    stoppedBy: Annotated[Owner | None, Meta(description="Who ended it by hand.")]
    createdAt: Time
    endedAt: Time | None


class RedriveList(TypedDict):
    redrives: list[RedriveDocument]
    nextCursor: NextCursor


class RedriveBegun(TypedDict):
    count: Annotated[int, Meta(ge=0)]
    redrive: RedriveDocument


class Count(TypedDict):
    count: Annotated[int, Meta(ge=0)]


class PauseDocument(TypedDict):
    """What an operator has stopped."""

    kind: Kind
    name: Annotated[str, Meta(description="A job type, or an owner.")]
    reason: str
    actor: Owner
    since: Time
    until: Annotated[Time | None, Meta(description="Null: until somebody ends it.")]


class PauseList(TypedDict):
    pauses: list[PauseDocument]


class ActDocument(TypedDict):
    """A line of the audit log."""

    id: int
    at: Time
    actor: str
    action: str
    subject: str
    jobs: Annotated[int | None, Meta(description="How many it touched.")]
    detail: dict[str, Any]


class ActPage(TypedDict):
    acts: list[ActDocument]
    nextCursor: NextCursor


class KeyDocument(TypedDict):
    """An API key, without its secret."""

    keyId: Id
    owner: Owner
    name: str
    prefix: Annotated[str, Meta(description="What people recognise it by.")]
    role: Role
    scopes: tuple[Scope, ...]
    state: Literal["valid", "expired", "revoked"]
    createdAt: Time
    quotaBytes: Annotated[int | None, Meta(description="Of its own, beside the server's.")]
    expiresAt: Time | None
    revokedAt: Time | None
    lastUsedAt: Time | None


class KeyPage(TypedDict):
    keys: list[KeyDocument]
    nextCursor: NextCursor


class KeyMade(KeyDocument):
    """An API key that was made just now."""

    key: Annotated[str, Meta(description="The secret; no other answer ever shows it.")]


class PersonDocument(TypedDict):
    """Somebody who has signed in at the provider."""

    personId: Id
    owner: Owner
    name: str
    email: str | None
    role: Role
    firstSeenAt: Time
    signedInAt: Time
    blockedAt: Time | None


class PersonList(TypedDict):
    people: list[PersonDocument]


class UsedDocument(TypedDict):
    """What there is of one type in one place."""

    type: JobType
    kind: Literal["originals", "results"]
    place: Literal["hot", "cold"]
    files: Size
    bytes: Size


class UsageDocument(TypedDict):
    """What one has here, and how much one may; null: as much as there is room for."""

    bytes: Size
    files: Size
    openUploads: Size
    used: Annotated[
        list[UsedDocument],
        Meta(description="The most first. Unfinished uploads are not among them."),
    ]
    quotaBytes: int | None
    quotaFiles: int | None
    leftBytes: int | None
    leftFiles: int | None
    maxOpenUploads: int
    maxUploadBytes: int
    maxTypeBytes: Annotated[dict[JobType, int], Meta(description="Of the largest file.")]


class OwnerUsage(TypedDict):
    """What one owner's finished uploads take."""

    owner: Owner
    name: Annotated[str | None, Meta(description="Of the key or the person, where it is known.")]
    bytes: Size
    files: Annotated[Size, Meta(description="Originals.")]
    used: Annotated[list[UsedDocument], Meta(description="The most first.")]


class AllUsage(TypedDict):
    """What everybody has here."""

    bytes: Size
    files: Size
    owners: Annotated[Size, Meta(description="That have anything.")]
    largest: Annotated[list[OwnerUsage], Meta(description="Those who have the most, first.")]


class BackupDocument(TypedDict):
    """A backup that was taken or tried."""

    beganAt: Time
    endedAt: Annotated[
        Time | None, Meta(description="Null while it is under way, or when its process was killed.")
    ]
    place: str
    snapshot: Annotated[str | None, Meta(description="Its name there; null: there is none.")]
    files: Size
    sizeBytes: Size
    newBytes: Annotated[Size, Meta(description="That were not there from earlier ones.")]
    lackingFiles: Annotated[Size, Meta(description="That were missing or damaged in the store.")]
    error: str | None
    provenAt: Annotated[Time | None, Meta(description="When it was last read whole.")]
    faults: Annotated[str | None, Meta(description="What was found then.")]


class BackupUnderWay(TypedDict):
    """What the server does just now."""

    what: Literal["taken", "proven"]
    beganAt: Time
    bytes: Annotated[Size, Meta(description="Copied, or read, so far.")]


class BackupList(TypedDict):
    everyS: Annotated[float | None, Meta(description="Null: none is taken by itself.")]
    underWay: BackupUnderWay | None
    backups: list[BackupDocument]


class SessionDocument(TypedDict):
    """A browser that is signed in."""

    sessionId: Id
    owner: Owner
    name: str
    role: Role
    address: str | None
    agent: str | None
    createdAt: Time
    expiresAt: Time
    lastUsedAt: Time | None
    current: Annotated[bool, Meta(description="Whether it is the one that asks.")]


class SessionPage(TypedDict):
    sessions: list[SessionDocument]
    nextCursor: NextCursor


class Alive(TypedDict):
    status: Literal["ok"]


class Part(TypedDict):
    """Whether a part of the server works."""

    ok: bool
    detail: str
    needed: Annotated[bool, Meta(description="Whether uploads need it.")]


class Readiness(TypedDict):
    status: Literal["ready", "not ready"]
    parts: NotRequired[
        Annotated[dict[str, Part], Meta(description="For those who may `read_all`.")]
    ]


class Problem(TypedDict):
    """A refusal (RFC 9457). Some have more members."""

    type: Annotated[str, Meta(extra_json_schema={"format": "uri-reference"})]
    title: str
    status: int
    detail: Annotated[str, Meta(description="What to do about it.")]
    code: Annotated[str, Meta(description="Stable; what a program decides by.")]


# --- links -----------------------------------------------------------------------------------


class UploadLinkDocument(TypedDict):
    """By which people without an account send files."""

    linkId: Id
    owner: Owner
    state: Literal["open", "used", "expired", "revoked"]
    files: Annotated[int, Meta(ge=1, description="How many may come by it.")]
    used: Annotated[int, Meta(ge=0)]
    maxBytes: Annotated[int | None, Meta(description="Of each.")]
    types: Annotated[list[str], Meta(description="Media types; none: all.")]
    preset: str
    note: str | None
    createdAt: Time
    expiresAt: Time


class UploadLinkMade(UploadLinkDocument):
    url: Annotated[str, Meta(description="Shown this once.")]


class UploadLinkPage(TypedDict):
    uploadLinks: list[UploadLinkDocument]
    nextCursor: NextCursor


class ShareLinkDocument(TypedDict):
    """A link to one file, for whoever has it."""

    url: str
    expiresAt: Time
    jobId: Id
    filename: str
    """Of the original."""
    file: str
    """`original`, or the name of a result."""


class ShareLinks(TypedDict):
    links: list[ShareLinkDocument]


class DeletedJobs(TypedDict):
    deleted: list[Id]
    """In the order in which they were asked for."""


class ReceivedFile(TypedDict):
    filename: str
    contentType: str
    sizeBytes: Annotated[int, Meta(ge=1)]
    sha256: str


class ReceivedFiles(TypedDict):
    received: list[ReceivedFile]


# --- history ---------------------------------------------------------------------------------


class SlotDocument(TypedDict):
    """What happened in a slot of time."""

    at: Time
    received: Annotated[int, Meta(ge=0)]
    receivedBytes: Annotated[int, Meta(ge=0)]
    completed: Annotated[int, Meta(ge=0)]
    failed: Annotated[int, Meta(ge=0)]
    successRate: Annotated[float, Meta(ge=0, le=1)] | None
    averageS: float | None
    p95S: float | None
    queued: float | None
    oldestS: float | None
    active: float | None


class FiguresDocument(TypedDict):
    range: Literal["hour", "day", "week"]
    type: JobType | None
    begin: Time
    stepS: int
    slots: Annotated[list[SlotDocument | None], Meta(description="Null: nothing is known.")]


# --- webhooks --------------------------------------------------------------------------------


class WebhookDocument(TypedDict):
    """An address that is told of jobs."""

    webhookId: Id
    owner: Owner
    url: str
    events: tuple[str, ...]
    description: str
    active: bool
    createdAt: Time
    failingSince: Time | None
    disabledAt: Time | None
    disabledReason: str | None


class WebhookMade(WebhookDocument):
    secret: Annotated[str, Meta(description="Signs what is sent; shown this once.")]


class WebhookPage(TypedDict):
    webhooks: list[WebhookDocument]
    nextCursor: NextCursor


class SecretsDocument(TypedDict):
    secret: str
    oldSecretUntil: Annotated[Time | None, Meta(description="Until then the old one signs too.")]


class DeliveryDocument(TypedDict):
    """What is sent to a webhook or a callback."""

    deliveryId: Annotated[Id, Meta(description="The `webhook-id` of every try.")]
    webhookId: Annotated[Id | None, Meta(description="Null: to a callback.")]
    jobId: Annotated[Id | None, Meta(description="Null: a test.")]
    owner: Owner
    event: str
    url: str
    state: DeliveryState
    attempt: Annotated[int, Meta(ge=0)]
    createdAt: Time
    dueAt: Time | None
    endedAt: Time | None


class DeliveryPage(TypedDict):
    deliveries: list[DeliveryDocument]
    nextCursor: NextCursor


class TryDocument(TypedDict):
    number: int
    at: Time
    tookS: float
    status: Annotated[int | None, Meta(description="Of HTTP; null: there was no answer.")]
    answer: str | None
    fault: str | None


class DeliveryStory(DeliveryDocument):
    payload: Annotated[Any, Meta(description="What is sent.")]
    tries: list[TryDocument]
