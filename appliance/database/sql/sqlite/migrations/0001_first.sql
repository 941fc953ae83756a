-- Times are seconds since the epoch, UTC. Columns that hold JSON are named in the comments.

CREATE TABLE uploads (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    filename TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size_bytes INTEGER NOT NULL CHECK (size_bytes >= 0),
    sha256 TEXT NOT NULL CHECK (length(sha256) = 64),
    storage_key TEXT NOT NULL UNIQUE,
    received_at REAL NOT NULL
) STRICT;

CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    upload_id TEXT NOT NULL REFERENCES uploads (id),
    owner TEXT NOT NULL,
    status TEXT NOT NULL
        CHECK (status IN ('PENDING', 'PROCESSING', 'RETRYING', 'COMPLETED', 'FAILED', 'CANCELLED')),
    type TEXT NOT NULL CHECK (type IN ('IMAGE', 'PDF', 'VIDEO', 'ANY')),
    preset TEXT NOT NULL,
    priority INTEGER NOT NULL CHECK (priority BETWEEN 0 AND 9),
    attempt INTEGER NOT NULL DEFAULT 0,         -- fencing token: grows with every claim
    retry_count INTEGER NOT NULL DEFAULT 0,
    max_retries INTEGER NOT NULL,
    progress REAL NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 1),
    step TEXT,
    created_at REAL NOT NULL,
    started_at REAL,
    finished_at REAL,
    next_attempt_at REAL,
    worker TEXT,                                -- who holds the lease
    beat INTEGER NOT NULL DEFAULT 0,            -- grows while the lease is held
    version INTEGER NOT NULL DEFAULT 1,
    scan TEXT NOT NULL,                         -- JSON: Scan
    error TEXT,                                 -- JSON: JobError
    metadata TEXT NOT NULL DEFAULT '{}',        -- JSON, the owner's
    result TEXT NOT NULL DEFAULT '{}',          -- JSON, the processor's facts
    CHECK ((status = 'PROCESSING') = (worker IS NOT NULL)),
    CHECK ((status = 'RETRYING') = (next_attempt_at IS NOT NULL)),
    CHECK ((status IN ('COMPLETED', 'FAILED', 'CANCELLED')) = (finished_at IS NOT NULL))
) STRICT;

CREATE INDEX jobs_ready ON jobs (type, priority DESC, id) WHERE status = 'PENDING';
CREATE INDEX jobs_running ON jobs (worker) WHERE status = 'PROCESSING';
CREATE INDEX jobs_due ON jobs (next_attempt_at) WHERE status = 'RETRYING';
CREATE INDEX jobs_by_owner ON jobs (owner, id);
CREATE INDEX jobs_by_status ON jobs (status, id);
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_created ON jobs (created_at);
CREATE INDEX jobs_by_upload ON jobs (upload_id);

CREATE TABLE attempts (
    job_id TEXT NOT NULL REFERENCES jobs (id),
    number INTEGER NOT NULL,
    worker TEXT NOT NULL,
    started_at REAL NOT NULL,
    ended_at REAL,
    outcome TEXT
        CHECK (outcome IN ('completed', 'retry', 'failed', 'handed_back', 'lost', 'cancelled')),
    step TEXT,
    error_code TEXT,
    error_class TEXT,
    message TEXT,
    stderr_tail TEXT,
    PRIMARY KEY (job_id, number)
) STRICT, WITHOUT ROWID;

-- Results become visible by the transaction that completes the job, and not before.
CREATE TABLE files (
    job_id TEXT NOT NULL REFERENCES jobs (id),
    position INTEGER NOT NULL,
    name TEXT NOT NULL,
    content_type TEXT NOT NULL,
    size_bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL,
    storage_key TEXT NOT NULL UNIQUE,
    width_px INTEGER,
    height_px INTEGER,
    PRIMARY KEY (job_id, name)
) STRICT;

CREATE TABLE dead_letters (
    job_id TEXT PRIMARY KEY REFERENCES jobs (id),
    created_at REAL NOT NULL,
    error_code TEXT NOT NULL,
    message TEXT NOT NULL,
    fingerprint TEXT NOT NULL                   -- the same for jobs that failed alike
) STRICT;

CREATE INDEX dead_letters_by_fingerprint ON dead_letters (fingerprint, job_id);

-- Every move of every job, in the order of the commits.
CREATE TABLE history (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    job_id TEXT NOT NULL REFERENCES jobs (id),
    owner TEXT NOT NULL,
    at REAL NOT NULL,
    status TEXT NOT NULL,
    attempt INTEGER NOT NULL,
    detail TEXT
) STRICT;

CREATE INDEX history_of_job ON history (job_id, id);
CREATE INDEX history_of_owner ON history (owner, id);

-- The processes that claim jobs, one row a life.
CREATE TABLE workers (
    id TEXT PRIMARY KEY,
    node TEXT NOT NULL,
    started_at REAL NOT NULL,
    beat INTEGER NOT NULL DEFAULT 0,
    beat_at REAL NOT NULL
) STRICT;

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('admin', 'user')),
    prefix TEXT NOT NULL,                       -- what a person recognises the key by
    secret_hash TEXT NOT NULL UNIQUE,           -- SHA-256; the key itself has 160 random bits
    created_at REAL NOT NULL,
    expires_at REAL,
    revoked_at REAL
) STRICT;

-- A browser's sign-in; the cookie holds the token, the table its hash.
CREATE TABLE sessions (
    token_hash TEXT PRIMARY KEY,
    key_id TEXT NOT NULL REFERENCES api_keys (id),
    created_at REAL NOT NULL,
    expires_at REAL NOT NULL
) STRICT;

CREATE TABLE signin_links (
    token_hash TEXT PRIMARY KEY,
    key_id TEXT NOT NULL REFERENCES api_keys (id),
    expires_at REAL NOT NULL,
    used_at REAL
) STRICT
