-- Links by which people without an account send files, and get them.

CREATE TABLE upload_links (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,                        -- who gets what comes by it
    token_hash TEXT NOT NULL UNIQUE,            -- SHA-256; the token has 160 random bits
    note TEXT,                                  -- for who opens it
    preset TEXT NOT NULL,
    files INTEGER NOT NULL CHECK (files > 0),   -- how many may come by it
    max_bytes INTEGER CHECK (max_bytes > 0),    -- of each
    types TEXT NOT NULL,                        -- JSON: list of media types; empty: all
    created_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    revoked_at REAL
) STRICT;

CREATE INDEX upload_links_of_owner ON upload_links (owner, id);

-- What has come by a link. It stays counted when the job is deleted.
CREATE TABLE upload_link_uses (
    link_id TEXT NOT NULL REFERENCES upload_links (id),
    job_id TEXT NOT NULL,
    PRIMARY KEY (link_id, job_id)
) STRICT, WITHOUT ROWID;

-- Signs the links to files; all servers of a deployment share it.
CREATE TABLE secrets (
    name TEXT PRIMARY KEY,
    value TEXT NOT NULL
) STRICT;

-- Grows when the links to a job's files are ended: those from before are signed with another number.
ALTER TABLE jobs ADD COLUMN links_ended INTEGER NOT NULL DEFAULT 0
