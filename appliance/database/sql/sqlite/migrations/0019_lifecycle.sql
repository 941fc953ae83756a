-- Originals that were moved to the cheaper place, and how the last pass of the lifecycle went.
ALTER TABLE uploads ADD COLUMN cold_since REAL;

CREATE INDEX uploads_warm ON uploads (id) WHERE cold_since IS NULL;

-- How much lies there. Kept by the triggers below.
CREATE TABLE cold (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    files INTEGER NOT NULL,
    bytes INTEGER NOT NULL
) STRICT;

INSERT INTO cold (only, files, bytes) VALUES (1, 0, 0);

CREATE TRIGGER upload_cooled AFTER UPDATE OF cold_since ON uploads
WHEN OLD.cold_since IS NULL AND NEW.cold_since IS NOT NULL BEGIN
    UPDATE cold SET files = files + 1, bytes = bytes + NEW.size_bytes;
END;

CREATE TRIGGER cold_upload_deleted AFTER DELETE ON uploads WHEN OLD.cold_since IS NOT NULL BEGIN
    UPDATE cold SET files = files - 1, bytes = bytes - OLD.size_bytes;
END;

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
