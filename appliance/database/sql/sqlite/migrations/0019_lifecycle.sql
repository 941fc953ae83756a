-- Originals that were moved to the cheaper place, and how the last pass of the lifecycle went.
ALTER TABLE uploads ADD COLUMN cold_since REAL;

CREATE INDEX uploads_warm ON uploads (id) WHERE cold_since IS NULL;

CREATE TABLE lifecycle (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    ran_at REAL NOT NULL,
    files INTEGER NOT NULL,         -- that it moved
    bytes INTEGER NOT NULL,
    error TEXT                      -- what stopped it
) STRICT;

-- What must not be deleted, by nobody and by no age, until somebody takes the pin away.
CREATE TABLE pins (
    job_id TEXT PRIMARY KEY REFERENCES jobs (id),
    actor TEXT NOT NULL,
    reason TEXT NOT NULL,
    pinned_at REAL NOT NULL
) STRICT, WITHOUT ROWID;
