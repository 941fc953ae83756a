-- Reading jobs.

-- name: job
SELECT j.*, u.filename, u.content_type, u.size_bytes, u.sha256, u.storage_key,
       u.expired_at AS original_expired_at
FROM jobs j JOIN uploads u ON u.id = j.upload_id
WHERE j.id = :id;

-- name: jobs_by_ids
SELECT j.*, u.filename, u.content_type, u.size_bytes, u.sha256, u.storage_key,
       u.expired_at AS original_expired_at
FROM jobs j JOIN uploads u ON u.id = j.upload_id
WHERE j.id IN (SELECT value FROM json_each(:ids));

-- A page of jobs, newest first: one statement for each index that can lead to it, so that a page
-- costs the same however large the table is. The `+` keeps the planner off other indexes.
-- `from_id` and `before` are ids, or sort before and behind all of them.

-- name: jobs_page
SELECT j.*, u.filename, u.content_type, u.size_bytes, u.sha256, u.storage_key,
       u.expired_at AS original_expired_at
FROM jobs j JOIN uploads u ON u.id = j.upload_id
WHERE j.id >= :from_id AND j.id < :before
  AND (j.status || '' IN (SELECT value FROM json_each(:statuses)) OR :statuses IS NULL)
  AND (j.type || '' IN (SELECT value FROM json_each(:types)) OR :types IS NULL)
  AND (j.error ->> 'code' = :error OR :error IS NULL)
  AND (j.preset = :preset OR :preset IS NULL)
  AND (CAST(:q AS TEXT) IS NULL OR instr(lowered(u.filename), :q) > 0)
ORDER BY j.id DESC
LIMIT :limit;

-- name: jobs_page_by_owner
SELECT j.*, u.filename, u.content_type, u.size_bytes, u.sha256, u.storage_key,
       u.expired_at AS original_expired_at
FROM jobs j JOIN uploads u ON u.id = j.upload_id
WHERE j.owner = :owner
  AND j.id >= :from_id AND j.id < :before
  AND (j.status || '' IN (SELECT value FROM json_each(:statuses)) OR :statuses IS NULL)
  AND (j.type || '' IN (SELECT value FROM json_each(:types)) OR :types IS NULL)
  AND (j.error ->> 'code' = :error OR :error IS NULL)
  AND (j.preset = :preset OR :preset IS NULL)
  AND (CAST(:q AS TEXT) IS NULL OR instr(lowered(u.filename), :q) > 0)
ORDER BY j.id DESC
LIMIT :limit;

-- name: jobs_page_by_status
SELECT j.*, u.filename, u.content_type, u.size_bytes, u.sha256, u.storage_key,
       u.expired_at AS original_expired_at
FROM jobs j JOIN uploads u ON u.id = j.upload_id
WHERE j.status = :status
  AND j.id >= :from_id AND j.id < :before
  AND (j.type || '' IN (SELECT value FROM json_each(:types)) OR :types IS NULL)
  AND (j.error ->> 'code' = :error OR :error IS NULL)
  AND (j.preset = :preset OR :preset IS NULL)
  AND (CAST(:q AS TEXT) IS NULL OR instr(lowered(u.filename), :q) > 0)
ORDER BY j.id DESC
LIMIT :limit;

-- name: jobs_page_by_type
SELECT j.*, u.filename, u.content_type, u.size_bytes, u.sha256, u.storage_key,
       u.expired_at AS original_expired_at
FROM jobs j JOIN uploads u ON u.id = j.upload_id
WHERE j.type = :type
  AND j.id >= :from_id AND j.id < :before
  AND (j.status || '' IN (SELECT value FROM json_each(:statuses)) OR :statuses IS NULL)
  AND (j.error ->> 'code' = :error OR :error IS NULL)
  AND (j.preset = :preset OR :preset IS NULL)
  AND (CAST(:q AS TEXT) IS NULL OR instr(lowered(u.filename), :q) > 0)
ORDER BY j.id DESC
LIMIT :limit;

-- Uploads that may have a job behind the id `after`, beside the latest ones from `number` on: those
-- that were begun late and complete early, and those of which another job was made.
-- name: uploads_beside
SELECT upload_id FROM upload_numbers WHERE upload_id > :after AND +number < :number
UNION
SELECT upload_id FROM jobs WHERE id > :after AND id <> upload_id
LIMIT :most;

-- name: jobs_page_of_uploads
SELECT j.*, u.filename, u.content_type, u.size_bytes, u.sha256, u.storage_key,
       u.expired_at AS original_expired_at
FROM jobs j JOIN uploads u ON u.id = j.upload_id
WHERE j.upload_id IN (SELECT value FROM json_each(:uploads))
  AND j.id || '' >= :from_id AND j.id || '' < :before
  AND (j.owner || '' = :owner OR :owner IS NULL)
  AND (j.status || '' IN (SELECT value FROM json_each(:statuses)) OR :statuses IS NULL)
  AND (j.type || '' IN (SELECT value FROM json_each(:types)) OR :types IS NULL)
  AND (j.error ->> 'code' = :error OR :error IS NULL)
  AND (j.preset = :preset OR :preset IS NULL)
  AND (CAST(:q AS TEXT) IS NULL OR instr(lowered(u.filename), :q) > 0)
ORDER BY j.id || '' DESC
LIMIT :limit;

-- name: files_of_jobs
SELECT f.* FROM files f
WHERE f.job_id IN (SELECT value FROM json_each(:job_ids))
ORDER BY f.job_id, f.position;

-- name: attempts_of_job
SELECT * FROM attempts WHERE job_id = :job_id ORDER BY number;

-- name: history_of_job
SELECT * FROM history WHERE job_id = :job_id ORDER BY id;

-- name: moves_since
SELECT id, job_id FROM history WHERE id > :after ORDER BY id LIMIT :limit;

-- name: moves_since_of_owner
SELECT id, job_id FROM history WHERE owner = :owner AND id > :after ORDER BY id LIMIT :limit;

-- name: last_history_id
SELECT coalesce(max(id), 0) AS id FROM history;

-- name: count_lost_attempts
SELECT count(*) AS lost FROM attempts WHERE job_id = :job_id AND outcome = 'lost'
  AND number > (SELECT spent_attempts FROM jobs WHERE id = :job_id);
