-- Reading all stored files against their digests.

-- name: scrub
SELECT began_at, ended_at, results, after, name, files, bytes FROM scrub;

-- name: begin_scrub!
INSERT INTO scrub ("only", began_at) VALUES (1, :now)
ON CONFLICT ("only") DO UPDATE SET began_at = :now, ended_at = NULL, results = 0, after = '', name = '',
    files = 0, bytes = 0;

-- name: advance_scrub!
UPDATE scrub SET results = :results, after = :after, name = :name, files = files + :files,
    bytes = bytes + :bytes, ended_at = :ended_at;

-- Only while a row names it: it may have been deleted while it was read. One that is known to be
-- damaged stays so when it cannot be read any more.
-- name: mark_damaged
INSERT INTO damaged_files (storage_key, job_id, name, found_at, unreadable)
SELECT :storage_key, :job_id, :name, :now, :unreadable
WHERE EXISTS (SELECT 1 FROM uploads WHERE id = :job_id AND storage_key = :storage_key
              AND expired_at IS NULL)
   OR EXISTS (SELECT 1 FROM files WHERE storage_key = :storage_key)
ON CONFLICT (storage_key) DO UPDATE SET unreadable = NULL, found_at = excluded.found_at
    WHERE damaged_files.unreadable IS NOT NULL AND excluded.unreadable IS NULL
RETURNING storage_key;

-- name: mark_sound
DELETE FROM damaged_files WHERE storage_key = :storage_key RETURNING storage_key;

-- name: damaged_among
SELECT storage_key, unreadable FROM damaged_files
WHERE storage_key IN (SELECT value FROM json_each(:keys));

-- The job is one that is there: of an original, the first may have been deleted.
-- name: damaged_files
SELECT storage_key, name, found_at, unreadable,
    coalesce((SELECT min(id) FROM jobs WHERE upload_id = damaged_files.job_id), job_id) AS job_id
FROM damaged_files ORDER BY unreadable IS NOT NULL, storage_key LIMIT :limit;

-- name: count_damaged_files
SELECT count(*) - count(unreadable) AS damaged, count(unreadable) AS unreadable
FROM damaged_files;
