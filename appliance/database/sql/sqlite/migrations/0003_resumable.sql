-- Resumable uploads, idempotency keys, and what each owner takes.

-- An upload on its way in, over several requests. Its id is that of the job that it becomes.
CREATE TABLE resumable_uploads (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    state TEXT NOT NULL
        CHECK (state IN ('open', 'completed', 'failed', 'expired', 'terminated')),
    kind TEXT NOT NULL CHECK (kind IN ('plain', 'partial', 'final')),
    length INTEGER CHECK (length >= 0),         -- NULL while the client has not told it
    offset INTEGER NOT NULL DEFAULT 0 CHECK (offset >= 0),   -- durable
    closed INTEGER NOT NULL DEFAULT 0 CHECK (closed IN (0, 1)),  -- the client says that was all
    by_length INTEGER NOT NULL CHECK (by_length IN (0, 1)),      -- complete with its last byte
    announced TEXT NOT NULL,                    -- JSON: Announced
    options TEXT NOT NULL,                      -- JSON: JobOptions
    tus_metadata TEXT,                          -- Upload-Metadata, as it came
    tus_concat TEXT,                            -- Upload-Concat, as it came
    parts TEXT,                                 -- JSON: ids that a final one is made of
    created_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    ended_at REAL,
    error TEXT,                                 -- JSON: Failure, of a failed one
    CHECK ((state = 'open') = (ended_at IS NULL)),
    CHECK (length IS NULL OR offset <= length)
) STRICT;

CREATE INDEX resumable_uploads_open ON resumable_uploads (owner) WHERE state = 'open';
CREATE INDEX resumable_uploads_expiring ON resumable_uploads (expires_at) WHERE state = 'open';
CREATE INDEX resumable_uploads_parts ON resumable_uploads (ended_at)
    WHERE state = 'completed' AND kind = 'partial';
CREATE INDEX resumable_uploads_expired ON resumable_uploads (ended_at) WHERE state = 'expired';
CREATE INDEX resumable_uploads_ended ON resumable_uploads (ended_at) WHERE ended_at IS NOT NULL;

-- A request that may be repeated: what it was, and what came of it.
CREATE TABLE idempotency_keys (
    owner TEXT NOT NULL,
    key TEXT NOT NULL,
    content TEXT NOT NULL,                      -- digest over files and options
    job_ids TEXT NOT NULL,                      -- JSON
    created_at REAL NOT NULL,
    PRIMARY KEY (owner, key)
) STRICT, WITHOUT ROWID;

CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);

-- The same content of the same owner, to be found again.
CREATE INDEX uploads_by_content ON uploads (owner, sha256);

-- What each owner's originals and results take. Kept by the triggers below.
CREATE TABLE usage (
    owner TEXT PRIMARY KEY,
    bytes INTEGER NOT NULL,
    originals INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO usage (owner, bytes, originals)
SELECT owner, sum(size_bytes), count(*) FROM uploads GROUP BY owner;
INSERT INTO usage (owner, bytes, originals)
SELECT j.owner, sum(f.size_bytes), 0 FROM files f JOIN jobs j ON j.id = f.job_id GROUP BY j.owner
ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes;

CREATE TRIGGER upload_kept AFTER INSERT ON uploads BEGIN
    INSERT INTO usage (owner, bytes, originals) VALUES (NEW.owner, NEW.size_bytes, 1)
    ON CONFLICT DO UPDATE SET bytes = bytes + excluded.bytes, originals = originals + 1;
END;

CREATE TRIGGER upload_deleted AFTER DELETE ON uploads BEGIN
    UPDATE usage SET bytes = bytes - OLD.size_bytes, originals = originals - 1
    WHERE owner = OLD.owner;
END;

CREATE TRIGGER result_kept AFTER INSERT ON files BEGIN
    UPDATE usage SET bytes = bytes + NEW.size_bytes
    WHERE owner = (SELECT owner FROM jobs WHERE id = NEW.job_id);
END;

CREATE TRIGGER result_deleted AFTER DELETE ON files BEGIN
    UPDATE usage SET bytes = bytes - OLD.size_bytes
    WHERE owner = (SELECT owner FROM jobs WHERE id = OLD.job_id);
END
