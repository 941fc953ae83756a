-- One statement per move of a job. A move names the state it leaves, so that a job that has
-- moved on is left alone: no row comes back, and the caller knows.

-- name: insert_upload!
INSERT INTO uploads (id, owner, filename, content_type, size_bytes, sha256, storage_key, received_at)
VALUES (:id, :owner, :filename, :content_type, :size_bytes, :sha256, :storage_key, :received_at);

-- name: insert_job!
INSERT INTO jobs (id, upload_id, owner, status, type, preset, priority, max_retries, created_at,
                  scan, metadata)
VALUES (:id, :upload_id, :owner, 'PENDING', :type, :preset, :priority, :max_retries, :created_at,
        :scan, :metadata);

-- name: ready_jobs
SELECT id FROM jobs
WHERE type = :type AND status = 'PENDING'
ORDER BY priority DESC, id
LIMIT :limit;

-- name: claim_job
UPDATE jobs
SET status = 'PROCESSING', attempt = attempt + 1, worker = :worker, beat = 0, progress = 0,
    step = NULL, started_at = :now, version = version + 1
WHERE id = :id AND status = 'PENDING'
RETURNING attempt, owner;

-- name: insert_attempt!
INSERT INTO attempts (job_id, number, worker, started_at)
VALUES (:job_id, :number, :worker, :now);

-- name: progress_job
UPDATE jobs
SET progress = :progress, step = :step, version = version + 1
WHERE id = :id AND status = 'PROCESSING' AND attempt = :attempt
RETURNING owner;

-- name: complete_job
UPDATE jobs
SET status = 'COMPLETED', worker = NULL, progress = 1, step = NULL, finished_at = :now,
    error = NULL, result = :result, version = version + 1
WHERE id = :id AND status = 'PROCESSING' AND attempt = :attempt
RETURNING owner;

-- name: insert_file!
INSERT INTO files (job_id, position, name, content_type, size_bytes, sha256, storage_key,
                   width_px, height_px)
VALUES (:job_id, :position, :name, :content_type, :size_bytes, :sha256, :storage_key,
        :width_px, :height_px);

-- name: retry_job
UPDATE jobs
SET status = 'RETRYING', worker = NULL, step = NULL, next_attempt_at = :next_attempt_at,
    retry_count = retry_count + 1, error = :error, version = version + 1
WHERE id = :id AND status = 'PROCESSING' AND attempt = :attempt
RETURNING owner;

-- name: fail_job
UPDATE jobs
SET status = 'FAILED', worker = NULL, step = NULL, finished_at = :now, error = :error,
    version = version + 1
WHERE id = :id AND status = 'PROCESSING' AND attempt = :attempt
RETURNING owner, type;

-- name: insert_dead_letter!
INSERT INTO dead_letters (job_id, created_at, error_code, message, fingerprint)
VALUES (:job_id, :now, :error_code, :message, :fingerprint);

-- Back to PENDING, and no retry is counted: the fault was not the job's.
-- name: release_job
UPDATE jobs
SET status = 'PENDING', worker = NULL, step = NULL, progress = 0, version = version + 1
WHERE id = :id AND status = 'PROCESSING' AND attempt = :attempt
RETURNING owner;

-- name: end_attempt!
UPDATE attempts
SET ended_at = :now, outcome = :outcome, step = :step, error_code = :error_code,
    error_class = :error_class, message = :message, stderr_tail = :stderr_tail
WHERE job_id = :job_id AND number = :number AND ended_at IS NULL;

-- name: stage_due_jobs
UPDATE jobs
SET status = 'PENDING', next_attempt_at = NULL, version = version + 1
WHERE id IN (
    SELECT id FROM jobs
    WHERE status = 'RETRYING' AND next_attempt_at <= :now
    ORDER BY next_attempt_at
    LIMIT :limit
)
RETURNING id, owner, type, attempt;

-- name: next_due_at
SELECT min(next_attempt_at) AS at FROM jobs WHERE status = 'RETRYING';

-- name: add_history!
INSERT INTO history (job_id, owner, at, status, attempt, detail)
VALUES (:job_id, :owner, :at, :status, :attempt, :detail);

-- name: job
SELECT j.*, u.filename, u.content_type, u.size_bytes, u.sha256, u.storage_key
FROM jobs j JOIN uploads u ON u.id = j.upload_id
WHERE j.id = :id;

-- name: jobs_page
-- Newest first.
SELECT j.*, u.filename, u.content_type, u.size_bytes, u.sha256, u.storage_key
FROM jobs j JOIN uploads u ON u.id = j.upload_id
WHERE (:owner IS NULL OR j.owner = :owner)
  AND (:status IS NULL OR j.status = :status)
  AND (:type IS NULL OR j.type = :type)
  AND (:q IS NULL OR j.id = upper(:q) OR j.owner = :q OR u.filename LIKE :pattern ESCAPE '\')
  AND (:before IS NULL OR j.id < :before)
ORDER BY j.id DESC
LIMIT :limit;

-- name: files_of_jobs
SELECT f.* FROM files f
WHERE f.job_id IN (SELECT value FROM json_each(:job_ids))
ORDER BY f.job_id, f.position;

-- name: attempts_of_job
SELECT * FROM attempts WHERE job_id = :job_id ORDER BY number;

-- name: history_of_job
SELECT * FROM history WHERE job_id = :job_id ORDER BY id;

-- name: changed_since
SELECT job_id, max(id) AS id FROM history
WHERE id > :after AND (:owner IS NULL OR owner = :owner)
GROUP BY job_id
ORDER BY id
LIMIT :limit;

-- name: last_history_id
SELECT coalesce(max(id), 0) AS id FROM history;

-- name: known_uploads
SELECT id FROM uploads WHERE id IN (SELECT value FROM json_each(:ids));

-- name: known_result_keys
SELECT storage_key FROM files WHERE job_id IN (SELECT value FROM json_each(:job_ids));

-- name: processing_of
SELECT id, attempt FROM jobs
WHERE status = 'PROCESSING' AND id IN (SELECT value FROM json_each(:ids));

-- name: dead_letters
SELECT * FROM dead_letters ORDER BY created_at DESC, job_id;

-- name: count_lost_attempts
SELECT count(*) AS lost FROM attempts WHERE job_id = :job_id AND outcome = 'lost';
