-- Every process has a row, also one that serves HTTP and works on no jobs, and tells what it is.
ALTER TABLE workers ADD COLUMN kind TEXT NOT NULL DEFAULT 'both'
    CHECK (kind IN ('api', 'worker', 'both'));
ALTER TABLE workers ADD COLUMN host TEXT NOT NULL DEFAULT '';
ALTER TABLE workers ADD COLUMN pid INTEGER NOT NULL DEFAULT 0;
ALTER TABLE workers ADD COLUMN version TEXT NOT NULL DEFAULT '';

-- When somebody found that it beats no more. It is shown for a while, and counts for nothing.
ALTER TABLE workers ADD COLUMN gone_at REAL;

-- How much is stored of each type: originals, counted with the first job that is made of them and
-- dropped with the last, and visible results. Kept by the triggers below.
CREATE TABLE stored (
    type TEXT NOT NULL,
    kind TEXT NOT NULL CHECK (kind IN ('original', 'result')),
    files INTEGER NOT NULL,
    bytes INTEGER NOT NULL,
    PRIMARY KEY (type, kind)
) STRICT, WITHOUT ROWID;

INSERT INTO stored (type, kind, files, bytes)
SELECT t.column1, k.column1, 0, 0
FROM (VALUES ('IMAGE'), ('PDF'), ('VIDEO'), ('ANY')) t, (VALUES ('original'), ('result')) k;
INSERT INTO stored (type, kind, files, bytes)
SELECT j.type, 'original', count(*), sum(u.size_bytes)
FROM uploads u JOIN jobs j ON j.id = (SELECT min(id) FROM jobs WHERE upload_id = u.id)
WHERE true GROUP BY j.type
ON CONFLICT DO UPDATE SET files = excluded.files, bytes = excluded.bytes;
INSERT INTO stored (type, kind, files, bytes)
SELECT j.type, 'result', count(*), sum(f.size_bytes) FROM files f JOIN jobs j ON j.id = f.job_id
WHERE true GROUP BY j.type
ON CONFLICT DO UPDATE SET files = excluded.files, bytes = excluded.bytes;

CREATE TRIGGER original_stored AFTER INSERT ON jobs
WHEN NOT EXISTS (SELECT 1 FROM jobs WHERE upload_id = NEW.upload_id AND id <> NEW.id) BEGIN
    UPDATE stored SET files = files + 1,
        bytes = bytes + (SELECT size_bytes FROM uploads WHERE id = NEW.upload_id)
    WHERE type = NEW.type AND kind = 'original';
END;

CREATE TRIGGER original_dropped AFTER DELETE ON jobs
WHEN NOT EXISTS (SELECT 1 FROM jobs WHERE upload_id = OLD.upload_id) BEGIN
    UPDATE stored SET files = files - 1,
        bytes = bytes - (SELECT size_bytes FROM uploads WHERE id = OLD.upload_id)
    WHERE type = OLD.type AND kind = 'original';
END;

CREATE TRIGGER result_stored AFTER INSERT ON files BEGIN
    UPDATE stored SET files = files + 1, bytes = bytes + NEW.size_bytes
    WHERE kind = 'result' AND type = (SELECT type FROM jobs WHERE id = NEW.job_id);
END;

CREATE TRIGGER result_dropped AFTER DELETE ON files BEGIN
    UPDATE stored SET files = files - 1, bytes = bytes - OLD.size_bytes
    WHERE kind = 'result' AND type = (SELECT type FROM jobs WHERE id = OLD.job_id);
END;

-- Further jobs on an upload that had one, for the search by names: their ids are not the upload's.
CREATE INDEX jobs_again ON jobs (id, upload_id) WHERE id <> upload_id;
