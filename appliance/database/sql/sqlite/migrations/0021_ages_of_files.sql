-- Originals and results go at ages of their own. A job goes with the last of its files.

-- When the original was deleted by its age; its row stays as long as a job of it has results.
ALTER TABLE uploads ADD COLUMN expired_at REAL;

-- Which of its files a job has not lost to their age. `all`: also of one that never had results.
ALTER TABLE jobs ADD COLUMN files_left TEXT NOT NULL DEFAULT 'all'
    CHECK (files_left IN ('all', 'original', 'results'));

DROP INDEX jobs_finished;
DROP INDEX jobs_finished_of_owner;
DROP INDEX jobs_finished_of_preset;
CREATE INDEX jobs_finished ON jobs (files_left, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_finished_of_owner ON jobs (owner, files_left, finished_at)
    WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_finished_of_preset ON jobs (preset, files_left, finished_at)
    WHERE finished_at IS NOT NULL;

DROP INDEX uploads_warm;
CREATE INDEX uploads_warm ON uploads (id) WHERE cold_since IS NULL AND expired_at IS NULL;

-- The age of an owner was that of both.
ALTER TABLE owner_ages RENAME TO old_owner_ages;
CREATE TABLE owner_ages (
    owner TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('originals', 'results')),
    days INTEGER NOT NULL CHECK (days >= 0),    -- 0: for ever
    PRIMARY KEY (owner, kind)
) STRICT, WITHOUT ROWID;
INSERT INTO owner_ages (owner, kind, days)
SELECT owner, kind.column1, days FROM old_owner_ages, (VALUES ('originals'), ('results')) AS kind;
DROP TABLE old_owner_ages;

CREATE TRIGGER original_expired AFTER UPDATE OF expired_at ON uploads
WHEN OLD.expired_at IS NULL AND NEW.expired_at IS NOT NULL BEGIN
    UPDATE jobs SET files_left = 'results', version = version + 1 WHERE upload_id = NEW.id;
    UPDATE usage SET bytes = bytes - NEW.size_bytes, originals = originals - 1
    WHERE owner = NEW.owner;
    UPDATE stored SET files = files - 1, bytes = bytes - NEW.size_bytes
    WHERE kind = 'original' AND type = (SELECT type FROM jobs WHERE upload_id = NEW.id LIMIT 1);
    UPDATE cold SET files = files - 1, bytes = bytes - NEW.size_bytes
    WHERE OLD.cold_since IS NOT NULL;
    DELETE FROM damaged_files WHERE storage_key = NEW.storage_key;
END;

-- As before, unless the original had gone already.
DROP TRIGGER upload_deleted;
CREATE TRIGGER upload_deleted AFTER DELETE ON uploads WHEN OLD.expired_at IS NULL BEGIN
    UPDATE usage SET bytes = bytes - OLD.size_bytes, originals = originals - 1
    WHERE owner = OLD.owner;
END;

DROP TRIGGER original_dropped;
CREATE TRIGGER original_dropped AFTER DELETE ON jobs
WHEN NOT EXISTS (SELECT 1 FROM jobs WHERE upload_id = OLD.upload_id) AND OLD.files_left <> 'results'
BEGIN
    UPDATE stored SET files = files - 1,
        bytes = bytes - (SELECT size_bytes FROM uploads WHERE id = OLD.upload_id)
    WHERE type = OLD.type AND kind = 'original';
END;

DROP TRIGGER cold_upload_deleted;
CREATE TRIGGER cold_upload_deleted AFTER DELETE ON uploads
WHEN OLD.cold_since IS NOT NULL AND OLD.expired_at IS NULL BEGIN
    UPDATE cold SET files = files - 1, bytes = bytes - OLD.size_bytes;
END;
