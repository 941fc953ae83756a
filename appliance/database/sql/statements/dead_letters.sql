-- Jobs that were given up and wait for review.

-- name: insert_dead_letter!
INSERT INTO dead_letters (job_id, created_at, owner, type, error_code, error_class, step, message,
                          fingerprint)
VALUES (:job_id, :now, :owner, :type, :error_code, :error_class, :step, :message, :fingerprint);

-- name: delete_dead_letter
DELETE FROM dead_letters WHERE job_id = :job_id RETURNING job_id;

-- name: discard_dead_letters
DELETE FROM dead_letters WHERE job_id IN (
    SELECT d.job_id FROM dead_letters d
    WHERE (d.fingerprint = :fingerprint OR :fingerprint IS NULL)
      AND (d.owner = :owner OR :owner IS NULL)
      AND (d.type = :type OR :type IS NULL)
      AND (d.error_code = :code OR :code IS NULL)
      AND (d.created_at >= :since OR :since IS NULL)
      AND (d.created_at < :until OR :until IS NULL)
      AND (d.job_id IN (SELECT value FROM json_each(:ids)) OR :ids IS NULL)
    LIMIT :limit
)
RETURNING job_id;

-- name: dead_letter
SELECT d.*, u.filename, u.size_bytes FROM dead_letters d
JOIN jobs j ON j.id = d.job_id JOIN uploads u ON u.id = j.upload_id
WHERE d.job_id = :job_id;

-- name: dead_letters_page
-- Newest job first.
SELECT d.*, u.filename, u.size_bytes FROM dead_letters d
JOIN jobs j ON j.id = d.job_id JOIN uploads u ON u.id = j.upload_id
WHERE d.job_id < :before_id
  AND (d.owner = :owner OR :owner IS NULL)
  AND (d.type = :type OR :type IS NULL)
  AND (d.error_code = :code OR :code IS NULL)
  AND (d.created_at >= :since OR :since IS NULL)
  AND (d.created_at < :until OR :until IS NULL)
  AND (d.job_id IN (SELECT value FROM json_each(:ids)) OR :ids IS NULL)
ORDER BY d.job_id DESC
LIMIT :limit;

-- name: dead_letters_page_of_group
SELECT d.*, u.filename, u.size_bytes FROM dead_letters d
JOIN jobs j ON j.id = d.job_id JOIN uploads u ON u.id = j.upload_id
WHERE d.job_id < :before_id
  AND d.fingerprint = :fingerprint
  AND (d.owner || '' = :owner OR :owner IS NULL)
  AND (d.type || '' = :type OR :type IS NULL)
  AND (d.error_code = :code OR :code IS NULL)
  AND (d.created_at >= :since OR :since IS NULL)
  AND (d.created_at < :until OR :until IS NULL)
  AND (d.job_id IN (SELECT value FROM json_each(:ids)) OR :ids IS NULL)
ORDER BY d.job_id DESC
LIMIT :limit;

-- name: count_dead_letters_matching
SELECT count(*) AS jobs FROM dead_letters d
WHERE (d.fingerprint = :fingerprint OR :fingerprint IS NULL)
  AND (d.owner = :owner OR :owner IS NULL)
  AND (d.type = :type OR :type IS NULL)
  AND (d.error_code = :code OR :code IS NULL)
  AND (d.created_at >= :since OR :since IS NULL)
  AND (d.created_at < :until OR :until IS NULL)
  AND (d.job_id IN (SELECT value FROM json_each(:ids)) OR :ids IS NULL);

-- name: count_in_groups
SELECT coalesce(sum(jobs), 0) AS jobs FROM dead_letter_groups
WHERE (fingerprint = :fingerprint OR :fingerprint IS NULL)
  AND (type = :type OR :type IS NULL)
  AND (error_code = :code OR :code IS NULL);

-- name: dead_letter_groups
SELECT g.*, (SELECT max(d.job_id) FROM dead_letters d WHERE d.fingerprint = g.fingerprint) AS example
FROM dead_letter_groups g ORDER BY jobs DESC, last_at DESC LIMIT :limit;

-- name: dead_letter_group
SELECT g.*, (SELECT max(d.job_id) FROM dead_letters d WHERE d.fingerprint = g.fingerprint) AS example
FROM dead_letter_groups g WHERE fingerprint = :fingerprint;

-- name: count_dead_letters
SELECT coalesce(sum(jobs), 0) AS jobs FROM dead_letter_groups;

-- name: untold_dead_letters
SELECT fingerprint, min(type) AS type, min(error_code) AS error_code, min(step) AS step,
       max(message) AS message, count(*) AS jobs, min(created_at) AS first_at,
       max(created_at) AS last_at
FROM dead_letters INDEXED BY dead_letters_untold WHERE notified_at IS NULL
GROUP BY fingerprint ORDER BY jobs DESC;

-- Those of the groups in :told ({fingerprint: jobs}) that have not grown: one that was stamped
-- before `until` but committed after the groups were counted keeps its group untold.
-- name: mark_told!
UPDATE dead_letters INDEXED BY dead_letters_untold SET notified_at = :now
WHERE notified_at IS NULL AND created_at <= :until AND fingerprint IN (
    SELECT d.fingerprint FROM dead_letters d INDEXED BY dead_letters_untold
    WHERE d.notified_at IS NULL AND d.created_at <= :until
    GROUP BY d.fingerprint
    HAVING count(*) <= (SELECT CAST(value AS BIGINT) FROM json_each(:told) WHERE key = d.fingerprint)
);
