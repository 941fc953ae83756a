-- Files that were read and are not what was stored, and how far the reading of all has come.
CREATE TABLE damaged_files (
    storage_key TEXT PRIMARY KEY,
    job_id TEXT NOT NULL,           -- the upload's id is that of its first job
    name TEXT NOT NULL,
    found_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE scrub (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    began_at REAL NOT NULL,         -- of the pass that is under way, or was the last
    ended_at REAL,                  -- NULL while it is under way
    results INTEGER NOT NULL DEFAULT 0 CHECK (results IN (0, 1)),   -- originals first
    after TEXT NOT NULL DEFAULT '', -- id of the upload or job that was read last
    name TEXT NOT NULL DEFAULT '',  -- and the name of its result
    files INTEGER NOT NULL DEFAULT 0,
    bytes INTEGER NOT NULL DEFAULT 0
) STRICT;

-- A file that is deleted is not damaged any more.
CREATE TRIGGER damaged_original_deleted AFTER DELETE ON uploads BEGIN
    DELETE FROM damaged_files WHERE storage_key = OLD.storage_key;
END;

CREATE TRIGGER damaged_result_deleted AFTER DELETE ON files BEGIN
    DELETE FROM damaged_files WHERE storage_key = OLD.storage_key;
END;
