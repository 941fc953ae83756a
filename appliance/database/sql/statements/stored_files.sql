-- What is known of stored files, to find those that nothing refers to and those that are gone.

-- name: known_uploads
SELECT id FROM uploads WHERE id IN (SELECT value FROM json_each(:ids));

-- name: known_result_keys
SELECT storage_key FROM files WHERE job_id IN (SELECT value FROM json_each(:job_ids));

-- name: processing_of
SELECT id, attempt FROM jobs
WHERE status = 'PROCESSING' AND id IN (SELECT value FROM json_each(:ids));

-- name: uploads_after
SELECT id, storage_key, size_bytes, missing_since FROM uploads
WHERE id > :after ORDER BY id LIMIT :limit;

-- name: is_named
SELECT 1 FROM uploads WHERE storage_key = :key UNION ALL
SELECT 1 FROM files WHERE storage_key = :key;

-- name: jobs_of_upload
SELECT id FROM jobs WHERE upload_id = :upload_id;

-- name: originals_named
SELECT id, filename AS name, storage_key, size_bytes, sha256 FROM uploads
WHERE id > :after ORDER BY id LIMIT :limit;

-- name: results_named
SELECT job_id AS id, name, storage_key, size_bytes, sha256 FROM files
WHERE (job_id, name) > (:after, :name) ORDER BY job_id, name LIMIT :limit;

-- name: mark_missing!
UPDATE uploads SET missing_since = :now WHERE id = :id AND missing_since IS NULL;

-- name: mark_found!
UPDATE uploads SET missing_since = NULL WHERE id = :id AND missing_since IS NOT NULL;

-- name: missing_uploads
SELECT id, owner, filename, storage_key, missing_since FROM uploads
WHERE missing_since IS NOT NULL ORDER BY id LIMIT :limit;

-- name: count_missing_uploads
SELECT count(*) AS uploads FROM uploads WHERE missing_since IS NOT NULL;

-- Finished jobs old enough to be deleted: by the age of their owner, else of their preset, else of
-- all others. One that waits for review stays.
-- name: jobs_to_prune
WITH due AS (
    SELECT j.id FROM owner_ages AS age CROSS JOIN jobs AS j INDEXED BY jobs_finished_of_owner
    WHERE age.days > 0 AND j.owner = age.owner
      AND j.finished_at < CAST(:now AS DOUBLE PRECISION) - age.days * 86400.0
    UNION ALL
    SELECT j.id FROM json_each(:presets) AS age
        CROSS JOIN jobs AS j INDEXED BY jobs_finished_of_preset
    WHERE CAST(age.value AS BIGINT) > 0 AND j.preset = age.key
      AND j.finished_at < CAST(:now AS DOUBLE PRECISION) - CAST(age.value AS BIGINT) * 86400.0
      AND j.owner NOT IN (SELECT owner FROM owner_ages)
    UNION ALL
    SELECT j.id FROM jobs AS j INDEXED BY jobs_finished
    WHERE :days > 0 AND j.finished_at < CAST(:now AS DOUBLE PRECISION) - :days * 86400.0
      AND j.preset NOT IN (SELECT key FROM json_each(:presets))
      AND j.owner NOT IN (SELECT owner FROM owner_ages)
)
SELECT id FROM due
WHERE NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.job_id = due.id)
  AND NOT EXISTS (SELECT 1 FROM pins p WHERE p.job_id = due.id)
LIMIT :limit;

-- name: deletable_job
SELECT id, upload_id, owner, type, status,
       (SELECT coalesce(sum(size_bytes), 0) FROM files WHERE job_id = :id) AS result_bytes
FROM jobs WHERE id = :id AND status IN ('COMPLETED', 'FAILED', 'CANCELLED')
  AND NOT EXISTS (SELECT 1 FROM pins p WHERE p.job_id = jobs.id);

-- name: delete_job_files!
DELETE FROM files WHERE job_id = :id;

-- name: delete_job_attempts!
DELETE FROM attempts WHERE job_id = :id;

-- name: delete_job_history!
DELETE FROM history WHERE job_id = :id;

-- name: delete_job!
DELETE FROM jobs WHERE id = :id;

-- name: delete_upload
DELETE FROM uploads WHERE id = :upload_id
  AND NOT EXISTS (SELECT 1 FROM jobs WHERE upload_id = :upload_id)
RETURNING id, size_bytes;
