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
    WHERE (:fingerprint IS NULL OR d.fingerprint = :fingerprint)
      AND (:owner IS NULL OR d.owner = :owner)
      AND (:type IS NULL OR d.type = :type)
      AND (:code IS NULL OR d.error_code = :code)
      AND (:since IS NULL OR d.created_at >= :since)
      AND (:until IS NULL OR d.created_at < :until)
      AND (:ids IS NULL OR d.job_id IN (SELECT value FROM json_each(:ids)))
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
  AND (:owner IS NULL OR d.owner = :owner)
  AND (:type IS NULL OR d.type = :type)
  AND (:code IS NULL OR d.error_code = :code)
  AND (:since IS NULL OR d.created_at >= :since)
  AND (:until IS NULL OR d.created_at < :until)
  AND (:ids IS NULL OR d.job_id IN (SELECT value FROM json_each(:ids)))
ORDER BY d.job_id DESC
LIMIT :limit;

-- name: dead_letters_page_of_group
SELECT d.*, u.filename, u.size_bytes FROM dead_letters d
JOIN jobs j ON j.id = d.job_id JOIN uploads u ON u.id = j.upload_id
WHERE d.job_id < :before_id
  AND d.fingerprint = :fingerprint
  AND (:owner IS NULL OR +d.owner = :owner)
  AND (:type IS NULL OR +d.type = :type)
  AND (:code IS NULL OR d.error_code = :code)
  AND (:since IS NULL OR d.created_at >= :since)
  AND (:until IS NULL OR d.created_at < :until)
  AND (:ids IS NULL OR d.job_id IN (SELECT value FROM json_each(:ids)))
ORDER BY d.job_id DESC
LIMIT :limit;

-- name: count_dead_letters_matching
SELECT count(*) AS jobs FROM dead_letters d
WHERE (:fingerprint IS NULL OR d.fingerprint = :fingerprint)
  AND (:owner IS NULL OR d.owner = :owner)
  AND (:type IS NULL OR d.type = :type)
  AND (:code IS NULL OR d.error_code = :code)
  AND (:since IS NULL OR d.created_at >= :since)
  AND (:until IS NULL OR d.created_at < :until)
  AND (:ids IS NULL OR d.job_id IN (SELECT value FROM json_each(:ids)));

-- name: count_in_groups
SELECT total(jobs) AS jobs FROM dead_letter_groups
WHERE (:fingerprint IS NULL OR fingerprint = :fingerprint)
  AND (:type IS NULL OR type = :type)
  AND (:code IS NULL OR error_code = :code);

-- name: dead_letter_groups
SELECT g.*, (SELECT max(d.job_id) FROM dead_letters d WHERE d.fingerprint = g.fingerprint) AS example
FROM dead_letter_groups g ORDER BY jobs DESC, last_at DESC LIMIT :limit;

-- name: dead_letter_group
SELECT g.*, (SELECT max(d.job_id) FROM dead_letters d WHERE d.fingerprint = g.fingerprint) AS example
FROM dead_letter_groups g WHERE fingerprint = :fingerprint;

-- name: count_dead_letters
SELECT total(jobs) AS jobs FROM dead_letter_groups;

-- name: untold_dead_letters
SELECT fingerprint, type, error_code, step, message, count(*) AS jobs, min(created_at) AS first_at,
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
    HAVING count(*) <= (SELECT value FROM json_each(:told) WHERE key = d.fingerprint)
);
