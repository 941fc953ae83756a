-- One statement per move of a job. A move names the state it leaves, so that a job that has
-- moved on is left alone: no row comes back, and the caller knows. `told`: the owner has endpoints
-- that may be told of the end.

-- name: insert_upload!
INSERT INTO uploads (id, owner, filename, content_type, size_bytes, sha256, storage_key, received_at)
VALUES (:id, :owner, :filename, :content_type, :size_bytes, :sha256, :storage_key, :received_at);

-- name: insert_job!
INSERT INTO jobs (id, upload_id, owner, status, type, preset, priority, turn, large, max_retries,
                  created_at, scan, metadata, callback_url)
VALUES (:id, :upload_id, :owner, 'PENDING', :type, :preset, :priority, :turn, :large, :max_retries,
        :created_at, :scan, :metadata, :callback_url);

-- Another job on an upload that has one, and its original.
-- name: insert_job_again
INSERT INTO jobs (id, upload_id, owner, status, type, preset, priority, turn, large, max_retries,
                  created_at, scan, metadata)
SELECT :id, upload_id, owner, 'PENDING', type, :preset, :priority, :turn, large, :max_retries,
       :created_at, scan, metadata
FROM jobs WHERE id = :of AND files_left <> 'results'
RETURNING id;

-- Several at once: a pool claims as many as it has workers free. `ids` is a JSON list.

-- name: claim_jobs
UPDATE jobs
SET status = 'PROCESSING', attempt = attempt + 1, worker = :worker, beat = 0, progress = 0,
    step = NULL, started_at = :now, version = version + 1
WHERE id IN (SELECT value FROM json_each(:ids)) AND status = 'PENDING'
RETURNING id;

-- name: begin_attempts!
INSERT INTO attempts (job_id, number, worker, started_at)
SELECT id, attempt, worker, started_at FROM jobs
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: add_claims_to_history!
INSERT INTO history (job_id, owner, at, status, attempt)
SELECT id, owner, started_at, status, attempt FROM jobs
WHERE id IN (SELECT value FROM json_each(:ids));

-- name: progress_job
UPDATE jobs
SET progress = :progress, step = :step, version = version + 1
WHERE id = :id AND status = 'PROCESSING' AND attempt = :attempt
RETURNING owner;

-- A result is there while the work goes on: whoever watches the job has to look again.
-- name: publish_result
UPDATE jobs
SET version = version + 1
WHERE id = :id AND status = 'PROCESSING' AND attempt = :attempt
RETURNING owner;

-- name: record_scan
UPDATE jobs
SET scan = :scan, version = version + 1
WHERE id = :id AND status = 'PROCESSING' AND attempt = :attempt
RETURNING owner;

-- name: complete_job
UPDATE jobs
SET status = 'COMPLETED', worker = NULL, progress = 1, step = NULL, finished_at = :now,
    error = NULL, result = :result, preset_version = :preset_version, version = version + 1
WHERE id = :id AND status = 'PROCESSING' AND attempt = :attempt
RETURNING owner,
          EXISTS (SELECT 1 FROM webhooks w WHERE w.owner = jobs.owner AND w.active = 1) AS told;

-- name: insert_file!
INSERT INTO files (job_id, position, name, content_type, size_bytes, sha256, storage_key,
                   width_px, height_px)
VALUES (:job_id, :position, :name, :content_type, :size_bytes, :sha256, :storage_key,
        :width_px, :height_px);

-- name: retry_job
UPDATE jobs
SET status = 'RETRYING', worker = NULL, step = NULL, next_attempt_at = :next_attempt_at,
    waits_since = :now, retry_count = retry_count + 1, error = :error, version = version + 1
WHERE id = :id AND status = 'PROCESSING' AND attempt = :attempt
RETURNING owner;

-- name: fail_job
UPDATE jobs
SET status = 'FAILED', worker = NULL, step = NULL, finished_at = :now, error = :error,
    version = version + 1
WHERE id = :id AND status = 'PROCESSING' AND attempt = :attempt
RETURNING owner, type,
          EXISTS (SELECT 1 FROM webhooks w WHERE w.owner = jobs.owner AND w.active = 1) AS told;

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

-- name: due_jobs
-- Due, or deciding to wait lies in the future: then the clock was set back, and no time that it
-- told means anything.
SELECT id FROM jobs INDEXED BY jobs_due
WHERE status = 'RETRYING' AND next_attempt_at <= :now
UNION
SELECT id FROM jobs INDEXED BY jobs_waits
WHERE status = 'RETRYING' AND waits_since > CAST(:now AS DOUBLE PRECISION) + :skew_s
LIMIT :limit;

-- name: stage_job
UPDATE jobs
SET status = 'PENDING', next_attempt_at = NULL, waits_since = NULL, turn = :turn,
    version = version + 1
WHERE id = :id AND status = 'RETRYING'
RETURNING owner, attempt;

-- Ended by a person. A worker that works on it finds its lease gone.
-- name: cancel_job
UPDATE jobs
SET status = 'CANCELLED', worker = NULL, step = NULL, next_attempt_at = NULL, waits_since = NULL,
    finished_at = :now, version = version + 1
WHERE id = :id AND status IN ('PENDING', 'PROCESSING', 'RETRYING')
RETURNING owner, attempt,
          EXISTS (SELECT 1 FROM webhooks w WHERE w.owner = jobs.owner AND w.active = 1) AS told;

-- A person asks for another try, with all its retries anew.
-- name: redrive_job
UPDATE jobs
SET status = 'PENDING', next_attempt_at = NULL, waits_since = NULL, finished_at = NULL,
    retry_count = 0, spent_attempts = attempt, progress = 0, error = NULL, turn = :turn,
    files_left = 'all',
    version = version + 1
WHERE id = :id AND status IN ('FAILED', 'CANCELLED', 'RETRYING')
RETURNING owner, attempt;

-- name: lane_of_job
SELECT owner, type, priority FROM jobs WHERE id = :id;

-- name: add_history!
INSERT INTO history (job_id, owner, at, status, attempt, detail)
VALUES (:job_id, :owner, :at, :status, :attempt, :detail);
