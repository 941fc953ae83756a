-- What is known of stored files, to find those that nothing refers to and those that are gone.

-- name: known_uploads
SELECT id FROM uploads
WHERE expired_at IS NULL AND id IN (SELECT value FROM json_each(:ids));

-- name: known_result_keys
SELECT storage_key FROM files WHERE job_id IN (SELECT value FROM json_each(:job_ids));

-- name: processing_of
SELECT id, attempt FROM jobs
WHERE status = 'PROCESSING' AND id IN (SELECT value FROM json_each(:ids));

-- name: uploads_after
SELECT id, storage_key, size_bytes, missing_since FROM uploads
WHERE id > :after AND expired_at IS NULL ORDER BY id LIMIT :limit;

-- name: is_named
SELECT 1 FROM uploads WHERE storage_key = :key AND expired_at IS NULL UNION ALL
SELECT 1 FROM files WHERE storage_key = :key;

-- name: jobs_of_upload
SELECT id FROM jobs WHERE upload_id = :upload_id;

-- name: originals_named
SELECT id, filename AS name, storage_key, size_bytes, sha256 FROM uploads
WHERE id > :after AND expired_at IS NULL ORDER BY id LIMIT :limit;

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
RETURNING storage_key, size_bytes, expired_at;
