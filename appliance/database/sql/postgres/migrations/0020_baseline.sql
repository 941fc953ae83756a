-- What SQLite has after its migration of the same number; later ones are written for both.
--
-- Text is compared by its bytes, as SQLite compares it and as ids are sorted, whatever the order of
-- the database is. Times are seconds since the epoch, UTC. Columns of text that hold JSON are named
-- in the comments.

-- The words that statements share with SQLite.

-- A JSON list by its values, or an object by its keys and values.
CREATE FUNCTION json_each(document text) RETURNS TABLE (key text, value text)
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT NULL, v FROM json_array_elements_text(
        CASE json_typeof(document::json) WHEN 'array' THEN document::json ELSE '[]' END) AS v
    UNION ALL
    SELECT k, v FROM json_each_text(
        CASE json_typeof(document::json) WHEN 'object' THEN document::json ELSE '{}' END) AS e (k, v)
$$;

-- Lower case in any script, whatever the locale of the database is.
DO $$ BEGIN
    IF EXISTS (SELECT FROM pg_collation WHERE collname = 'und-x-icu') THEN
        CREATE FUNCTION lowered(words text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
        AS 'SELECT lower(words COLLATE "und-x-icu")';
    ELSE
        CREATE FUNCTION lowered(words text) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE
        AS 'SELECT lower(words COLLATE "default")';
    END IF;
END $$;

CREATE FUNCTION instr(words text, part text) RETURNS integer LANGUAGE sql IMMUTABLE PARALLEL SAFE
AS 'SELECT strpos(words, part)';

CREATE TABLE uploads (
    id TEXT COLLATE "C" PRIMARY KEY,
    owner TEXT COLLATE "C" NOT NULL,
    filename TEXT COLLATE "C" NOT NULL,
    content_type TEXT COLLATE "C" NOT NULL,
    size_bytes BIGINT NOT NULL CHECK (size_bytes >= 0),
    sha256 TEXT COLLATE "C" NOT NULL CHECK (length(sha256) = 64),
    storage_key TEXT COLLATE "C" NOT NULL UNIQUE,
    received_at DOUBLE PRECISION NOT NULL,
    missing_since DOUBLE PRECISION,
    cold_since DOUBLE PRECISION
);

CREATE TABLE jobs (
    id TEXT COLLATE "C" PRIMARY KEY,
    upload_id TEXT COLLATE "C" NOT NULL REFERENCES uploads (id),
    owner TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL
        CHECK (status IN ('PENDING', 'PROCESSING', 'RETRYING', 'COMPLETED', 'FAILED', 'CANCELLED')),
    type TEXT COLLATE "C" NOT NULL CHECK (type IN ('IMAGE', 'PDF', 'VIDEO', 'ANY')),
    preset TEXT COLLATE "C" NOT NULL,
    priority BIGINT NOT NULL CHECK (priority BETWEEN 0 AND 9),
    attempt BIGINT NOT NULL DEFAULT 0,                           -- fencing token: grows with every claim
    retry_count BIGINT NOT NULL DEFAULT 0,
    max_retries BIGINT NOT NULL,
    progress DOUBLE PRECISION NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 1),
    step TEXT COLLATE "C",
    created_at DOUBLE PRECISION NOT NULL,
    started_at DOUBLE PRECISION,
    finished_at DOUBLE PRECISION,
    next_attempt_at DOUBLE PRECISION,
    worker TEXT COLLATE "C",                                     -- who holds the lease
    beat BIGINT NOT NULL DEFAULT 0,                              -- grows while the lease is held
    version BIGINT NOT NULL DEFAULT 1,
    scan JSON NOT NULL,                                          -- Scan
    error JSON,                                                  -- JobError
    metadata TEXT COLLATE "C" NOT NULL DEFAULT '{}',             -- JSON, the owner's
    result TEXT COLLATE "C" NOT NULL DEFAULT '{}',               -- JSON, the processor's facts
    turn BIGINT NOT NULL DEFAULT 0,
    large BIGINT NOT NULL DEFAULT 0 CHECK (large IN (0, 1)),
    waits_since DOUBLE PRECISION,
    spent_attempts BIGINT NOT NULL DEFAULT 0,
    preset_version BIGINT CHECK (preset_version >= 1),
    links_ended BIGINT NOT NULL DEFAULT 0,
    callback_url TEXT COLLATE "C",
    CHECK ((status = 'PROCESSING') = (worker IS NOT NULL)),
    CHECK ((status = 'RETRYING') = (next_attempt_at IS NOT NULL)),
    CHECK ((status IN ('COMPLETED', 'FAILED', 'CANCELLED')) = (finished_at IS NOT NULL))
);

CREATE TABLE attempts (
    job_id TEXT COLLATE "C" NOT NULL REFERENCES jobs (id),
    number BIGINT NOT NULL,
    worker TEXT COLLATE "C" NOT NULL,
    started_at DOUBLE PRECISION NOT NULL,
    ended_at DOUBLE PRECISION,
    outcome TEXT COLLATE "C"
        CHECK (outcome IN ('completed', 'retry', 'failed', 'handed_back', 'lost', 'cancelled')),
    step TEXT COLLATE "C",
    error_code TEXT COLLATE "C",
    error_class TEXT COLLATE "C",
    message TEXT COLLATE "C",
    stderr_tail TEXT COLLATE "C",
    PRIMARY KEY (job_id, number)
);

CREATE TABLE files (
    job_id TEXT COLLATE "C" NOT NULL REFERENCES jobs (id),
    position BIGINT NOT NULL,
    name TEXT COLLATE "C" NOT NULL,
    content_type TEXT COLLATE "C" NOT NULL,
    size_bytes BIGINT NOT NULL,
    sha256 TEXT COLLATE "C" NOT NULL,
    storage_key TEXT COLLATE "C" NOT NULL UNIQUE,
    width_px BIGINT,
    height_px BIGINT,
    PRIMARY KEY (job_id, name)
);

CREATE TABLE dead_letters (
    job_id TEXT COLLATE "C" PRIMARY KEY REFERENCES jobs (id),
    created_at DOUBLE PRECISION NOT NULL,
    error_code TEXT COLLATE "C" NOT NULL,
    message TEXT COLLATE "C" NOT NULL,
    fingerprint TEXT COLLATE "C" NOT NULL,                       -- the same for jobs that failed alike
    owner TEXT COLLATE "C" NOT NULL DEFAULT '',
    type TEXT COLLATE "C" NOT NULL DEFAULT '',
    error_class TEXT COLLATE "C" NOT NULL DEFAULT '',
    step TEXT COLLATE "C" NOT NULL DEFAULT '',
    notified_at DOUBLE PRECISION
);

CREATE TABLE history (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    job_id TEXT COLLATE "C" NOT NULL REFERENCES jobs (id),
    owner TEXT COLLATE "C" NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    attempt BIGINT NOT NULL,
    detail TEXT COLLATE "C"
);

CREATE TABLE workers (
    id TEXT COLLATE "C" PRIMARY KEY,
    node TEXT COLLATE "C" NOT NULL,
    started_at DOUBLE PRECISION NOT NULL,
    beat BIGINT NOT NULL DEFAULT 0,
    beat_at DOUBLE PRECISION NOT NULL,
    pools TEXT COLLATE "C" NOT NULL DEFAULT '[]',
    kind TEXT COLLATE "C" NOT NULL DEFAULT 'both' CHECK (kind IN ('api', 'worker', 'both')),
    host TEXT COLLATE "C" NOT NULL DEFAULT '',
    pid BIGINT NOT NULL DEFAULT 0,
    version TEXT COLLATE "C" NOT NULL DEFAULT '',
    gone_at DOUBLE PRECISION
);

CREATE TABLE lanes (
    type TEXT COLLATE "C" NOT NULL,
    priority BIGINT NOT NULL,
    owner TEXT COLLATE "C" NOT NULL,
    turn BIGINT NOT NULL,
    PRIMARY KEY (type, priority, owner)
);

CREATE TABLE pauses (
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('type', 'owner')),
    name TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    since DOUBLE PRECISION NOT NULL,
    until DOUBLE PRECISION,                                      -- NULL: until somebody resumes it
    PRIMARY KEY (kind, name)
);

CREATE TABLE audit (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    at DOUBLE PRECISION NOT NULL,
    actor TEXT COLLATE "C" NOT NULL,
    action TEXT COLLATE "C" NOT NULL,
    subject TEXT COLLATE "C" NOT NULL,
    detail TEXT COLLATE "C" NOT NULL,                            -- JSON
    jobs BIGINT                                                  -- how many it touched
);

CREATE TABLE tallies (
    type TEXT COLLATE "C" NOT NULL,
    status TEXT COLLATE "C" NOT NULL,
    jobs BIGINT NOT NULL,
    PRIMARY KEY (type, status)
);

CREATE TABLE minutes (
    minute BIGINT NOT NULL,                                      -- since the epoch
    type TEXT COLLATE "C" NOT NULL,
    received BIGINT NOT NULL DEFAULT 0,
    completed BIGINT NOT NULL DEFAULT 0,
    failed BIGINT NOT NULL DEFAULT 0,
    busy_s DOUBLE PRECISION NOT NULL DEFAULT 0,                  -- of the attempts that completed
    queued BIGINT,
    active BIGINT,
    received_bytes BIGINT NOT NULL DEFAULT 0,
    oldest_s DOUBLE PRECISION,
    PRIMARY KEY (minute, type)
);

CREATE TABLE dead_letter_groups (
    fingerprint TEXT COLLATE "C" PRIMARY KEY,
    type TEXT COLLATE "C" NOT NULL,
    error_code TEXT COLLATE "C" NOT NULL,
    error_class TEXT COLLATE "C" NOT NULL,
    step TEXT COLLATE "C" NOT NULL,
    message TEXT COLLATE "C" NOT NULL,                           -- of the latest
    jobs BIGINT NOT NULL,
    first_at DOUBLE PRECISION NOT NULL,
    last_at DOUBLE PRECISION NOT NULL
);

CREATE TABLE redrives (
    id TEXT COLLATE "C" PRIMARY KEY,
    actor TEXT COLLATE "C" NOT NULL,
    created_at DOUBLE PRECISION NOT NULL,
    ended_at DOUBLE PRECISION,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('running', 'completed', 'stopped')),
    staged BIGINT NOT NULL CHECK (staged IN (0, 1)),             -- 0: all in one wave
    wave BIGINT NOT NULL DEFAULT 0,                              -- of those begun so far, counted from 1
    filter TEXT COLLATE "C" NOT NULL,
    stopped_by TEXT COLLATE "C",
    once TEXT COLLATE "C",                                       -- JSON
    CHECK ((state = 'running') = (ended_at IS NULL))
);

CREATE TABLE redrive_jobs (
    redrive_id TEXT COLLATE "C" NOT NULL REFERENCES redrives (id),
    job_id TEXT COLLATE "C" NOT NULL,                            -- may have been deleted since
    wave BIGINT,                                                 -- NULL: its wave has not begun
    outcome TEXT COLLATE "C" CHECK (outcome IN ('completed', 'failed', 'cancelled', 'gone')),
    PRIMARY KEY (redrive_id, job_id)
);

CREATE TABLE resumable_uploads (
    id TEXT COLLATE "C" PRIMARY KEY,
    owner TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('open', 'completed', 'failed', 'expired', 'terminated')),
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('plain', 'partial', 'final')),
    length BIGINT CHECK (length >= 0),                           -- NULL while the client has not told it
    "offset" BIGINT NOT NULL DEFAULT 0 CHECK ("offset" >= 0),    -- durable
    closed BIGINT NOT NULL DEFAULT 0 CHECK (closed IN (0, 1)),   -- the client says that was all
    by_length BIGINT NOT NULL CHECK (by_length IN (0, 1)),       -- complete with its last byte
    announced TEXT COLLATE "C" NOT NULL,                         -- JSON: Announced
    options TEXT COLLATE "C" NOT NULL,                           -- JSON: JobOptions
    tus_metadata TEXT COLLATE "C",                               -- Upload-Metadata, as it came
    tus_concat TEXT COLLATE "C",                                 -- Upload-Concat, as it came
    parts TEXT COLLATE "C",                                      -- JSON: ids that a final one is made of
    created_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL,
    ended_at DOUBLE PRECISION,
    error TEXT COLLATE "C",                                      -- JSON: Failure, of a failed one
    CHECK ((state = 'open') = (ended_at IS NULL)),
    CHECK (length IS NULL OR "offset" <= length)
);

CREATE TABLE idempotency_keys (
    owner TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    content TEXT COLLATE "C" NOT NULL,                           -- digest over files and options
    job_ids TEXT COLLATE "C" NOT NULL,                           -- JSON
    created_at DOUBLE PRECISION NOT NULL,
    PRIMARY KEY (owner, key)
);

CREATE TABLE usage (
    owner TEXT COLLATE "C" PRIMARY KEY,
    bytes BIGINT NOT NULL,
    originals BIGINT NOT NULL
);

CREATE TABLE api_keys (
    id TEXT COLLATE "C" PRIMARY KEY,
    name TEXT COLLATE "C" NOT NULL,
    role TEXT COLLATE "C" NOT NULL CHECK (role IN ('user', 'viewer', 'operator', 'admin')),
    scopes TEXT COLLATE "C" NOT NULL,                            -- JSON: list of Scope
    prefix TEXT COLLATE "C" NOT NULL,                            -- what a person recognises the key by
    secret_hash TEXT COLLATE "C" NOT NULL UNIQUE,                -- SHA-256; the key itself has 160 random bits
    created_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION,
    revoked_at DOUBLE PRECISION,
    last_used_at DOUBLE PRECISION,                               -- to within a minute
    quota_bytes BIGINT CHECK (quota_bytes > 0)
);

CREATE TABLE signin_links (
    token_hash TEXT COLLATE "C" PRIMARY KEY,
    key_id TEXT COLLATE "C" NOT NULL REFERENCES api_keys (id),
    expires_at DOUBLE PRECISION NOT NULL,
    used_at DOUBLE PRECISION
);

CREATE TABLE upload_numbers (
    number BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    upload_id TEXT COLLATE "C" NOT NULL UNIQUE
);

CREATE TABLE people (
    id TEXT COLLATE "C" PRIMARY KEY,
    owner TEXT COLLATE "C" NOT NULL UNIQUE,                      -- jwt:<issuer>:<sub>
    name TEXT COLLATE "C" NOT NULL,
    email TEXT COLLATE "C",
    role TEXT COLLATE "C" NOT NULL CHECK (role IN ('user', 'viewer', 'operator', 'admin')),
    first_seen_at DOUBLE PRECISION NOT NULL,
    signed_in_at DOUBLE PRECISION NOT NULL,                      -- the last time; name and role are from then
    blocked_at DOUBLE PRECISION
);

CREATE TABLE sessions (
    id TEXT COLLATE "C" PRIMARY KEY,                             -- what people name it by
    token_hash TEXT COLLATE "C" NOT NULL UNIQUE,
    owner TEXT COLLATE "C" NOT NULL,                             -- whose, as jobs have it
    key_id TEXT COLLATE "C" REFERENCES api_keys (id),            -- begun with a key,
    person_id TEXT COLLATE "C" REFERENCES people (id),           -- or at the provider
    created_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL,
    last_used_at DOUBLE PRECISION,                               -- to within a minute
    address TEXT COLLATE "C",                                    -- that it was begun from
    agent TEXT COLLATE "C",                                      -- the browser, as it calls itself
    CHECK ((key_id IS NULL) <> (person_id IS NULL))
);

CREATE TABLE scalings (
    id BIGINT GENERATED BY DEFAULT AS IDENTITY PRIMARY KEY,
    at DOUBLE PRECISION NOT NULL,
    type TEXT COLLATE "C" NOT NULL,
    node TEXT COLLATE "C" NOT NULL,
    workers_before BIGINT NOT NULL,
    workers_after BIGINT NOT NULL,
    reason TEXT COLLATE "C" NOT NULL
);

CREATE TABLE upload_links (
    id TEXT COLLATE "C" PRIMARY KEY,
    owner TEXT COLLATE "C" NOT NULL,                             -- who gets what comes by it
    token_hash TEXT COLLATE "C" NOT NULL UNIQUE,                 -- SHA-256; the token has 160 random bits
    note TEXT COLLATE "C",                                       -- for who opens it
    preset TEXT COLLATE "C" NOT NULL,
    files BIGINT NOT NULL CHECK (files > 0),                     -- how many may come by it
    max_bytes BIGINT CHECK (max_bytes > 0),                      -- of each
    types TEXT COLLATE "C" NOT NULL,                             -- JSON: list of media types; empty: all
    created_at DOUBLE PRECISION NOT NULL,
    expires_at DOUBLE PRECISION NOT NULL,
    revoked_at DOUBLE PRECISION
);

CREATE TABLE upload_link_uses (
    link_id TEXT COLLATE "C" NOT NULL REFERENCES upload_links (id),
    job_id TEXT COLLATE "C" NOT NULL,
    PRIMARY KEY (link_id, job_id)
);

CREATE TABLE secrets (
    name TEXT COLLATE "C" PRIMARY KEY,
    value TEXT COLLATE "C" NOT NULL
);

CREATE TABLE duration_bounds (
    upto_s DOUBLE PRECISION PRIMARY KEY
);

CREATE TABLE minute_durations (
    minute BIGINT NOT NULL,                                      -- since the epoch
    type TEXT COLLATE "C" NOT NULL,
    upto_s DOUBLE PRECISION NOT NULL,                            -- one of duration_bounds
    jobs BIGINT NOT NULL,                                        -- that completed after no more, and more than the bound before
    PRIMARY KEY (minute, type, upto_s)
);

CREATE TABLE webhooks (
    id TEXT COLLATE "C" PRIMARY KEY,
    owner TEXT COLLATE "C" NOT NULL,
    url TEXT COLLATE "C" NOT NULL,
    events TEXT COLLATE "C" NOT NULL,                            -- JSON: list of Event
    description TEXT COLLATE "C" NOT NULL,
    active BIGINT NOT NULL CHECK (active IN (0, 1)),
    secret TEXT COLLATE "C" NOT NULL,
    old_secret TEXT COLLATE "C",                                 -- signs too, until then
    old_until DOUBLE PRECISION,
    created_at DOUBLE PRECISION NOT NULL,
    failing_since DOUBLE PRECISION,                              -- every try since then has failed
    disabled_at DOUBLE PRECISION,                                -- by the appliance
    disabled_reason TEXT COLLATE "C",
    CHECK ((old_secret IS NULL) = (old_until IS NULL)),
    CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL)),
    CHECK (NOT (active = 1 AND disabled_at IS NOT NULL))
);

CREATE TABLE callback_secrets (
    owner TEXT COLLATE "C" PRIMARY KEY,
    secret TEXT COLLATE "C" NOT NULL,
    old_secret TEXT COLLATE "C",
    old_until DOUBLE PRECISION,
    CHECK ((old_secret IS NULL) = (old_until IS NULL))
);

CREATE TABLE deliveries (
    id TEXT COLLATE "C" PRIMARY KEY,
    webhook_id TEXT COLLATE "C" REFERENCES webhooks (id) ON DELETE CASCADE,
    url TEXT COLLATE "C",                                        -- of a callback
    owner TEXT COLLATE "C" NOT NULL,
    job_id TEXT COLLATE "C",                                     -- may have been deleted since
    event TEXT COLLATE "C" NOT NULL,
    payload TEXT COLLATE "C" NOT NULL,                           -- the body, to the byte
    lane TEXT COLLATE "C" NOT NULL,
    state TEXT COLLATE "C" NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    attempt BIGINT NOT NULL DEFAULT 0,                           -- fencing token: grows with every try
    tries BIGINT NOT NULL DEFAULT 0,                             -- since it was made, or replayed
    created_at DOUBLE PRECISION NOT NULL,
    due_at DOUBLE PRECISION,                                     -- while it is tried: when the try counts as lost
    ended_at DOUBLE PRECISION,
    CHECK ((webhook_id IS NULL) = (url IS NOT NULL)),
    CHECK ((state = 'pending') = (due_at IS NOT NULL)),
    CHECK ((state = 'pending') = (ended_at IS NULL))
);

CREATE TABLE delivery_tries (
    delivery_id TEXT COLLATE "C" NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    number BIGINT NOT NULL,
    at DOUBLE PRECISION NOT NULL,
    took_s DOUBLE PRECISION NOT NULL,
    status BIGINT,
    answer TEXT COLLATE "C",                                     -- how it begins
    fault TEXT COLLATE "C",
    PRIMARY KEY (delivery_id, number)
);

CREATE TABLE stored (
    type TEXT COLLATE "C" NOT NULL,
    kind TEXT COLLATE "C" NOT NULL CHECK (kind IN ('original', 'result')),
    files BIGINT NOT NULL,
    bytes BIGINT NOT NULL,
    PRIMARY KEY (type, kind)
);

CREATE TABLE backups (
    began_at DOUBLE PRECISION PRIMARY KEY,
    ended_at DOUBLE PRECISION,
    place TEXT COLLATE "C" NOT NULL,
    snapshot TEXT COLLATE "C",                                   -- NULL until it is there
    files BIGINT NOT NULL DEFAULT 0,
    size_bytes BIGINT NOT NULL DEFAULT 0,
    new_bytes BIGINT NOT NULL DEFAULT 0,
    lacking BIGINT NOT NULL DEFAULT 0,                           -- files that were missing or damaged in the store
    error TEXT COLLATE "C",
    proven_at DOUBLE PRECISION,
    faults TEXT COLLATE "C"                                      -- what the proof found; NULL: nothing, or there was none yet
);

CREATE TABLE damaged_files (
    storage_key TEXT COLLATE "C" PRIMARY KEY,
    job_id TEXT COLLATE "C" NOT NULL,                            -- the upload's id is that of its first job
    name TEXT COLLATE "C" NOT NULL,
    found_at DOUBLE PRECISION NOT NULL
);

CREATE TABLE scrub (
    "only" BIGINT PRIMARY KEY CHECK ("only" = 1),
    began_at DOUBLE PRECISION NOT NULL,                          -- of the pass that is under way, or was the last
    ended_at DOUBLE PRECISION,                                   -- NULL while it is under way
    results BIGINT NOT NULL DEFAULT 0 CHECK (results IN (0, 1)),  -- originals first
    after TEXT COLLATE "C" NOT NULL DEFAULT '',                  -- id of the upload or job that was read last
    name TEXT COLLATE "C" NOT NULL DEFAULT '',                   -- and the name of its result
    files BIGINT NOT NULL DEFAULT 0,
    bytes BIGINT NOT NULL DEFAULT 0
);

CREATE TABLE cold (
    "only" BIGINT PRIMARY KEY CHECK ("only" = 1),
    files BIGINT NOT NULL,
    bytes BIGINT NOT NULL
);

CREATE TABLE lifecycle (
    "only" BIGINT PRIMARY KEY CHECK ("only" = 1),
    ran_at DOUBLE PRECISION NOT NULL,
    files BIGINT NOT NULL,                                       -- that it moved
    bytes BIGINT NOT NULL,
    error TEXT COLLATE "C"                                       -- what stopped it
);

CREATE TABLE pins (
    job_id TEXT COLLATE "C" PRIMARY KEY REFERENCES jobs (id),
    actor TEXT COLLATE "C" NOT NULL,
    reason TEXT COLLATE "C" NOT NULL,
    pinned_at DOUBLE PRECISION NOT NULL
);

CREATE TABLE owner_ages (
    owner TEXT COLLATE "C" PRIMARY KEY,
    days BIGINT NOT NULL CHECK (days >= 0)                       -- 0: for ever
);

CREATE INDEX jobs_running ON jobs (worker) WHERE status = 'PROCESSING';
CREATE INDEX jobs_by_owner ON jobs (owner, id);
CREATE INDEX jobs_by_status ON jobs (status, id);
CREATE INDEX jobs_finished ON jobs (finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_by_upload ON jobs (upload_id);
CREATE INDEX dead_letters_by_fingerprint ON dead_letters (fingerprint, job_id);
CREATE INDEX history_of_job ON history (job_id, id);
CREATE INDEX history_of_owner ON history (owner, id);
CREATE INDEX jobs_ready ON jobs (type, large, priority DESC, turn, id) WHERE status = 'PENDING';
CREATE INDEX jobs_ready_of_owner ON jobs (type, owner, priority DESC, turn, id) WHERE status = 'PENDING';
CREATE INDEX jobs_waiting ON jobs (type, id) WHERE status = 'PENDING';
CREATE INDEX jobs_due ON jobs (next_attempt_at) WHERE status = 'RETRYING';
CREATE INDEX jobs_waits ON jobs (waits_since) WHERE status = 'RETRYING';
CREATE INDEX jobs_by_type ON jobs (type, id);
CREATE INDEX dead_letters_untold ON dead_letters (created_at) WHERE notified_at IS NULL;
CREATE INDEX dead_letters_by_owner ON dead_letters (owner, job_id);
CREATE INDEX redrives_running ON redrives (id) WHERE state = 'running';
CREATE INDEX redrive_jobs_by_job ON redrive_jobs (job_id);
CREATE INDEX redrive_jobs_open ON redrive_jobs (redrive_id, wave) WHERE outcome IS NULL;
CREATE INDEX uploads_missing ON uploads (id) WHERE missing_since IS NOT NULL;
CREATE INDEX resumable_uploads_open ON resumable_uploads (owner) WHERE state = 'open';
CREATE INDEX resumable_uploads_expiring ON resumable_uploads (expires_at) WHERE state = 'open';
CREATE INDEX resumable_uploads_parts ON resumable_uploads (ended_at) WHERE state = 'completed' AND kind = 'partial';
CREATE INDEX resumable_uploads_expired ON resumable_uploads (ended_at) WHERE state = 'expired';
CREATE INDEX resumable_uploads_ended ON resumable_uploads (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
CREATE INDEX uploads_by_content ON uploads (owner, sha256);
CREATE INDEX resumable_uploads_parts_of_owner ON resumable_uploads (owner) WHERE state = 'completed' AND kind = 'partial';
CREATE INDEX sessions_of_owner ON sessions (owner);
CREATE UNIQUE INDEX redrives_once ON redrives (actor, once) WHERE once IS NOT NULL;
CREATE INDEX audit_of_subject ON audit (subject, id);
CREATE INDEX scalings_of_type ON scalings (type, id);
CREATE INDEX upload_links_of_owner ON upload_links (owner, id);
CREATE INDEX webhooks_active ON webhooks (owner) WHERE active = 1;
CREATE INDEX webhooks_by_owner ON webhooks (owner, id);
CREATE INDEX webhooks_disabled ON webhooks (disabled_at) WHERE disabled_at IS NOT NULL;
CREATE INDEX deliveries_pending ON deliveries (lane, due_at, id) WHERE state = 'pending';
CREATE INDEX deliveries_failed ON deliveries (owner, ended_at) WHERE state = 'failed';
CREATE INDEX deliveries_ended ON deliveries (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX deliveries_by_owner ON deliveries (owner, id);
CREATE INDEX deliveries_by_webhook ON deliveries (webhook_id, id);
CREATE INDEX deliveries_by_job ON deliveries (job_id, id);
CREATE INDEX jobs_again ON jobs (id, upload_id) WHERE id <> upload_id;
CREATE INDEX uploads_warm ON uploads (id) WHERE cold_since IS NULL;
CREATE INDEX jobs_finished_of_owner ON jobs (owner, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_finished_of_preset ON jobs (preset, finished_at) WHERE finished_at IS NOT NULL;

-- Part of a name, in either case (docs/decisions/0024-search-by-trigrams.md). Where the extension
-- may not be had, names are found by walking.
DO $$ BEGIN
    CREATE EXTENSION IF NOT EXISTS pg_trgm;
    CREATE INDEX uploads_by_name ON uploads USING gin (lowered(filename) gin_trgm_ops);
EXCEPTION WHEN insufficient_privilege OR undefined_file OR undefined_object
    OR feature_not_supported THEN
    RAISE WARNING 'names are searched without an index: %', SQLERRM;
END $$;

INSERT INTO tallies (type, status, jobs)
SELECT type, status, 0
FROM (VALUES ('IMAGE'), ('PDF'), ('VIDEO'), ('ANY')) t (type),
     (VALUES ('PENDING'), ('PROCESSING'), ('RETRYING'), ('COMPLETED'), ('FAILED'), ('CANCELLED'))
         s (status);

INSERT INTO stored (type, kind, files, bytes)
SELECT type, kind, 0, 0
FROM (VALUES ('IMAGE'), ('PDF'), ('VIDEO'), ('ANY')) t (type),
     (VALUES ('original'), ('result')) k (kind);

INSERT INTO cold ("only", files, bytes) VALUES (1, 0, 0);

-- The upper bounds of the buckets in which durations are counted: 10 ms, and each 1.2 times the one
-- before, to more than a day.
INSERT INTO duration_bounds
WITH RECURSIVE bounds (upto_s, number) AS (
    SELECT 0.01::double precision, 0
    UNION ALL SELECT upto_s * 1.2::double precision, number + 1 FROM bounds WHERE number < 88
)
SELECT upto_s FROM bounds;

-- What is counted is kept by triggers (docs/decisions/0014-counts-kept-by-triggers.md).

CREATE FUNCTION job_received() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    first boolean := NOT EXISTS (SELECT FROM jobs WHERE upload_id = NEW.upload_id AND id <> NEW.id);
    size bigint := 0;
BEGIN
    IF first THEN
        SELECT size_bytes INTO size FROM uploads WHERE id = NEW.upload_id;
        UPDATE stored SET files = files + 1, bytes = bytes + size
        WHERE type = NEW.type AND kind = 'original';
    END IF;
    UPDATE tallies SET jobs = jobs + 1 WHERE type = NEW.type AND status = NEW.status;
    INSERT INTO minutes AS m (minute, type, received, received_bytes)
    VALUES (floor(NEW.created_at / 60), NEW.type, 1, size)
    ON CONFLICT (minute, type) DO UPDATE
    SET received = m.received + 1, received_bytes = m.received_bytes + excluded.received_bytes;
    RETURN NULL;
END $$;

CREATE FUNCTION job_moved() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tallies SET jobs = jobs + CASE status WHEN NEW.status THEN 1 ELSE -1 END
    WHERE type = NEW.type AND status IN (OLD.status, NEW.status);
    IF NEW.status IN ('COMPLETED', 'FAILED') THEN
        INSERT INTO minutes AS m (minute, type, completed, failed, busy_s)
        VALUES (floor(NEW.finished_at / 60), NEW.type,
                CASE NEW.status WHEN 'COMPLETED' THEN 1 ELSE 0 END,
                CASE NEW.status WHEN 'FAILED' THEN 1 ELSE 0 END,
                CASE NEW.status WHEN 'COMPLETED' THEN NEW.finished_at - NEW.started_at ELSE 0 END)
        ON CONFLICT (minute, type) DO UPDATE
        SET completed = m.completed + excluded.completed, failed = m.failed + excluded.failed,
            busy_s = m.busy_s + excluded.busy_s;
    END IF;
    IF NEW.status = 'COMPLETED' THEN
        INSERT INTO minute_durations AS d (minute, type, upto_s, jobs)
        VALUES (floor(NEW.finished_at / 60), NEW.type,
                coalesce((SELECT min(upto_s) FROM duration_bounds
                          WHERE upto_s >= NEW.finished_at - NEW.started_at),
                         (SELECT max(upto_s) FROM duration_bounds)),
                1)
        ON CONFLICT (minute, type, upto_s) DO UPDATE SET jobs = d.jobs + 1;
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION job_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tallies SET jobs = jobs - 1 WHERE type = OLD.type AND status = OLD.status;
    IF NOT EXISTS (SELECT FROM jobs WHERE upload_id = OLD.upload_id) THEN
        UPDATE stored SET files = files - 1,
            bytes = bytes - (SELECT size_bytes FROM uploads WHERE id = OLD.upload_id)
        WHERE type = OLD.type AND kind = 'original';
    END IF;
    RETURN NULL;
END $$;

CREATE TRIGGER job_received AFTER INSERT ON jobs FOR EACH ROW EXECUTE FUNCTION job_received();
CREATE TRIGGER job_moved AFTER UPDATE OF status ON jobs FOR EACH ROW
WHEN (OLD.status <> NEW.status) EXECUTE FUNCTION job_moved();
CREATE TRIGGER job_deleted AFTER DELETE ON jobs FOR EACH ROW EXECUTE FUNCTION job_deleted();

CREATE FUNCTION result_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE stored SET files = files + 1, bytes = bytes + NEW.size_bytes
    WHERE kind = 'result' AND type = (SELECT type FROM jobs WHERE id = NEW.job_id);
    UPDATE usage SET bytes = bytes + NEW.size_bytes
    WHERE owner = (SELECT owner FROM jobs WHERE id = NEW.job_id);
    RETURN NULL;
END $$;

CREATE FUNCTION result_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE stored SET files = files - 1, bytes = bytes - OLD.size_bytes
    WHERE kind = 'result' AND type = (SELECT type FROM jobs WHERE id = OLD.job_id);
    UPDATE usage SET bytes = bytes - OLD.size_bytes
    WHERE owner = (SELECT owner FROM jobs WHERE id = OLD.job_id);
    DELETE FROM damaged_files WHERE storage_key = OLD.storage_key;
    RETURN NULL;
END $$;

CREATE TRIGGER result_kept AFTER INSERT ON files FOR EACH ROW EXECUTE FUNCTION result_kept();
CREATE TRIGGER result_deleted AFTER DELETE ON files FOR EACH ROW EXECUTE FUNCTION result_deleted();

CREATE FUNCTION upload_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO usage AS u (owner, bytes, originals) VALUES (NEW.owner, NEW.size_bytes, 1)
    ON CONFLICT (owner) DO UPDATE
    SET bytes = u.bytes + excluded.bytes, originals = u.originals + 1;
    INSERT INTO upload_numbers (upload_id) VALUES (NEW.id);
    RETURN NULL;
END $$;

CREATE FUNCTION upload_cooled() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE cold SET files = files + 1, bytes = bytes + NEW.size_bytes;
    RETURN NULL;
END $$;

CREATE FUNCTION upload_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE usage SET bytes = bytes - OLD.size_bytes, originals = originals - 1
    WHERE owner = OLD.owner;
    IF OLD.cold_since IS NOT NULL THEN
        UPDATE cold SET files = files - 1, bytes = bytes - OLD.size_bytes;
    END IF;
    DELETE FROM upload_numbers WHERE upload_id = OLD.id;
    DELETE FROM damaged_files WHERE storage_key = OLD.storage_key;
    RETURN NULL;
END $$;

CREATE TRIGGER upload_kept AFTER INSERT ON uploads FOR EACH ROW EXECUTE FUNCTION upload_kept();
CREATE TRIGGER upload_cooled AFTER UPDATE OF cold_since ON uploads FOR EACH ROW
WHEN (OLD.cold_since IS NULL AND NEW.cold_since IS NOT NULL) EXECUTE FUNCTION upload_cooled();
CREATE TRIGGER upload_deleted AFTER DELETE ON uploads FOR EACH ROW
EXECUTE FUNCTION upload_deleted();

CREATE FUNCTION dead_letter_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO dead_letter_groups AS g
    VALUES (NEW.fingerprint, NEW.type, NEW.error_code, NEW.error_class, NEW.step, NEW.message, 1,
            NEW.created_at, NEW.created_at)
    ON CONFLICT (fingerprint) DO UPDATE
    SET jobs = g.jobs + 1, message = excluded.message,
        last_at = greatest(g.last_at, excluded.last_at);
    RETURN NULL;
END $$;

CREATE FUNCTION dead_letter_gone() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE dead_letter_groups SET jobs = jobs - 1 WHERE fingerprint = OLD.fingerprint;
    DELETE FROM dead_letter_groups WHERE fingerprint = OLD.fingerprint AND jobs = 0;
    RETURN NULL;
END $$;

CREATE TRIGGER dead_letter_kept AFTER INSERT ON dead_letters FOR EACH ROW
EXECUTE FUNCTION dead_letter_kept();
CREATE TRIGGER dead_letter_gone AFTER DELETE ON dead_letters FOR EACH ROW
EXECUTE FUNCTION dead_letter_gone();
