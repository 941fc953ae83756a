-- Originals and results go at ages of their own. A job goes with the last of its files.

-- When the original was deleted by its age; its row stays as long as a job of it has results.
ALTER TABLE uploads ADD COLUMN expired_at DOUBLE PRECISION;

-- Which of its files a job has not lost to their age. `all`: also of one that never had results.
ALTER TABLE jobs ADD COLUMN files_left TEXT COLLATE "C" NOT NULL DEFAULT 'all'
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
ALTER TABLE owner_ages ADD COLUMN kind TEXT COLLATE "C" NOT NULL DEFAULT 'originals'
    CHECK (kind IN ('originals', 'results'));
ALTER TABLE owner_ages ALTER COLUMN kind DROP DEFAULT;
ALTER TABLE owner_ages DROP CONSTRAINT owner_ages_pkey, ADD PRIMARY KEY (owner, kind);
INSERT INTO owner_ages (owner, kind, days) SELECT owner, 'results', days FROM owner_ages;

CREATE FUNCTION original_expired() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE jobs SET files_left = 'results', version = version + 1 WHERE upload_id = NEW.id;
    UPDATE usage SET bytes = bytes - NEW.size_bytes, originals = originals - 1
    WHERE owner = NEW.owner;
    UPDATE stored SET files = files - 1, bytes = bytes - NEW.size_bytes
    WHERE kind = 'original' AND type = (SELECT type FROM jobs WHERE upload_id = NEW.id LIMIT 1);
    IF OLD.cold_since IS NOT NULL THEN
        UPDATE cold SET files = files - 1, bytes = bytes - NEW.size_bytes;
    END IF;
    DELETE FROM damaged_files WHERE storage_key = NEW.storage_key;
    RETURN NULL;
END $$;

CREATE TRIGGER original_expired AFTER UPDATE OF expired_at ON uploads FOR EACH ROW
WHEN (OLD.expired_at IS NULL AND NEW.expired_at IS NOT NULL) EXECUTE FUNCTION original_expired();

-- As before, unless the original had gone already.
CREATE OR REPLACE FUNCTION upload_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.expired_at IS NULL THEN
        UPDATE usage SET bytes = bytes - OLD.size_bytes, originals = originals - 1
        WHERE owner = OLD.owner;
    END IF;
    IF OLD.expired_at IS NULL AND OLD.cold_since IS NOT NULL THEN
        UPDATE cold SET files = files - 1, bytes = bytes - OLD.size_bytes;
    END IF;
    DELETE FROM upload_numbers WHERE upload_id = OLD.id;
    DELETE FROM damaged_files WHERE storage_key = OLD.storage_key;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION job_deleted() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE tallies SET jobs = jobs - 1 WHERE type = OLD.type AND status = OLD.status;
    IF OLD.files_left <> 'results'
        AND NOT EXISTS (SELECT FROM jobs WHERE upload_id = OLD.upload_id) THEN
        UPDATE stored SET files = files - 1,
            bytes = bytes - (SELECT size_bytes FROM uploads WHERE id = OLD.upload_id)
        WHERE type = OLD.type AND kind = 'original';
    END IF;
    RETURN NULL;
END $$;
