-- Files that are deleted by their age: that of their owner, else of their preset, else of all others.
-- `kind` is whose age it is, `presets` a JSON object of days by name.

-- Uploads whose originals no job keeps: each of theirs is old enough, waits for no review and has
-- no pin.
-- name: originals_due
WITH due AS (
    SELECT j.upload_id AS id FROM owner_ages AS age CROSS JOIN jobs AS j INDEXED BY jobs_finished_of_owner
    WHERE age.kind = 'originals' AND age.days > 0
      AND j.owner = age.owner AND j.files_left IN ('all', 'original')
      AND j.finished_at < CAST(:now AS DOUBLE PRECISION) - age.days * 86400.0
    UNION ALL
    SELECT j.upload_id FROM json_each(:presets) AS age
        CROSS JOIN jobs AS j INDEXED BY jobs_finished_of_preset
    WHERE CAST(age.value AS BIGINT) > 0
      AND j.preset = age.key AND j.files_left IN ('all', 'original')
      AND j.finished_at < CAST(:now AS DOUBLE PRECISION) - CAST(age.value AS BIGINT) * 86400.0
      AND j.owner NOT IN (SELECT owner FROM owner_ages WHERE kind = 'originals')
    UNION ALL
    SELECT j.upload_id FROM jobs AS j INDEXED BY jobs_finished
    WHERE CAST(:days AS BIGINT) > 0 AND j.files_left IN ('all', 'original')
      AND j.finished_at < CAST(:now AS DOUBLE PRECISION) - CAST(:days AS BIGINT) * 86400.0
      AND j.preset NOT IN (SELECT key FROM json_each(:presets))
      AND j.owner NOT IN (SELECT owner FROM owner_ages WHERE kind = 'originals')
)
SELECT DISTINCT id FROM due
WHERE NOT EXISTS (
    SELECT 1 FROM jobs AS j WHERE j.upload_id = due.id AND (
        j.finished_at IS NULL
        OR EXISTS (SELECT 1 FROM dead_letters WHERE job_id = j.id)
        OR EXISTS (SELECT 1 FROM pins WHERE job_id = j.id)
        OR (j.finished_at < CAST(:now AS DOUBLE PRECISION) - 86400.0 * nullif(coalesce(
                (SELECT days FROM owner_ages WHERE owner = j.owner AND kind = 'originals'),
                (SELECT CAST(value AS BIGINT) FROM json_each(:presets) WHERE key = j.preset),
                CAST(:days AS BIGINT)), 0)) IS NOT TRUE))
LIMIT :limit;

-- Jobs whose results are old enough, wait for no review and have no pin.
-- name: results_due
WITH due AS (
    SELECT j.id AS id FROM owner_ages AS age CROSS JOIN jobs AS j INDEXED BY jobs_finished_of_owner
    WHERE age.kind = 'results' AND age.days > 0
      AND j.owner = age.owner AND j.files_left IN ('all', 'results')
      AND j.finished_at < CAST(:now AS DOUBLE PRECISION) - age.days * 86400.0
    UNION ALL
    SELECT j.id FROM json_each(:presets) AS age
        CROSS JOIN jobs AS j INDEXED BY jobs_finished_of_preset
    WHERE CAST(age.value AS BIGINT) > 0
      AND j.preset = age.key AND j.files_left IN ('all', 'results')
      AND j.finished_at < CAST(:now AS DOUBLE PRECISION) - CAST(age.value AS BIGINT) * 86400.0
      AND j.owner NOT IN (SELECT owner FROM owner_ages WHERE kind = 'results')
    UNION ALL
    SELECT j.id FROM jobs AS j INDEXED BY jobs_finished
    WHERE CAST(:days AS BIGINT) > 0 AND j.files_left IN ('all', 'results')
      AND j.finished_at < CAST(:now AS DOUBLE PRECISION) - CAST(:days AS BIGINT) * 86400.0
      AND j.preset NOT IN (SELECT key FROM json_each(:presets))
      AND j.owner NOT IN (SELECT owner FROM owner_ages WHERE kind = 'results')
)
SELECT id FROM due
WHERE EXISTS (SELECT 1 FROM files f WHERE f.job_id = due.id)
  AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.job_id = due.id)
  AND NOT EXISTS (SELECT 1 FROM pins p WHERE p.job_id = due.id)
LIMIT :limit;

-- name: amount_of_originals
SELECT u.owner, (SELECT type FROM jobs WHERE upload_id = u.id LIMIT 1) AS type,
       'originals' AS kind, count(*) AS files, sum(u.size_bytes) AS size_bytes
FROM json_each(:ids) AS due JOIN uploads AS u ON u.id = due.value
GROUP BY 1, 2 ORDER BY size_bytes DESC;

-- name: amount_of_results
SELECT j.owner, j.type, 'results' AS kind, count(*) AS files, sum(f.size_bytes) AS size_bytes
FROM json_each(:ids) AS due JOIN jobs AS j ON j.id = due.value JOIN files AS f ON f.job_id = j.id
GROUP BY 1, 2 ORDER BY size_bytes DESC;

-- The jobs of an upload, when its original may go: as in originals_due, asked once more when it goes.
-- name: jobs_losing_original
SELECT j.id, j.owner, EXISTS (SELECT 1 FROM files WHERE job_id = j.id) AS has_results
FROM jobs AS j WHERE j.upload_id = :upload_id AND NOT EXISTS (
    SELECT 1 FROM jobs AS k WHERE k.upload_id = :upload_id AND (
        k.finished_at IS NULL
        OR EXISTS (SELECT 1 FROM dead_letters WHERE job_id = k.id)
        OR EXISTS (SELECT 1 FROM pins WHERE job_id = k.id)
        OR (k.finished_at < CAST(:now AS DOUBLE PRECISION) - 86400.0 * nullif(coalesce(
                (SELECT days FROM owner_ages WHERE owner = k.owner AND kind = 'originals'),
                (SELECT CAST(value AS BIGINT) FROM json_each(:presets) WHERE key = k.preset),
                CAST(:days AS BIGINT)), 0)) IS NOT TRUE));

-- name: expire_upload
UPDATE uploads SET expired_at = :now, missing_since = NULL WHERE id = :id AND expired_at IS NULL
RETURNING storage_key, size_bytes;

-- A job, when its results may go: as in results_due.
-- name: job_losing_results
SELECT j.id, j.owner, j.files_left = 'results' AS is_last,
       (SELECT count(*) FROM files WHERE job_id = j.id) AS files,
       (SELECT coalesce(sum(size_bytes), 0) FROM files WHERE job_id = j.id) AS size_bytes
FROM jobs AS j WHERE j.id = :id
  AND EXISTS (SELECT 1 FROM files f WHERE f.job_id = j.id)
  AND NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.job_id = j.id)
  AND NOT EXISTS (SELECT 1 FROM pins p WHERE p.job_id = j.id)
  AND j.finished_at < CAST(:now AS DOUBLE PRECISION) - 86400.0 * nullif(coalesce(
        (SELECT days FROM owner_ages WHERE owner = j.owner AND kind = 'results'),
        (SELECT CAST(value AS BIGINT) FROM json_each(:presets) WHERE key = j.preset),
        CAST(:days AS BIGINT)), 0);

-- name: expire_results!
UPDATE jobs SET files_left = 'original', version = version + 1 WHERE id = :id;

-- All jobs of the upload that a job is of, with what keeps them.
-- name: keepers
SELECT j.id, j.preset, j.finished_at, j.files_left, u.id AS upload_id, u.size_bytes, u.cold_since,
       u.expired_at,
       EXISTS (SELECT 1 FROM pins WHERE job_id = j.id) AS is_pinned,
       EXISTS (SELECT 1 FROM dead_letters WHERE job_id = j.id) AS is_reviewed
FROM uploads AS u JOIN jobs AS j ON j.upload_id = u.id
WHERE u.id = (SELECT upload_id FROM jobs WHERE id = :job_id);

-- name: owner_ages
SELECT owner, kind, days FROM owner_ages ORDER BY owner, kind;

-- name: ages_of_owner
SELECT kind, days FROM owner_ages WHERE owner = :owner;

-- name: set_owner_age!
INSERT INTO owner_ages (owner, kind, days) VALUES (:owner, :kind, :days)
ON CONFLICT (owner, kind) DO UPDATE SET days = :days;

-- name: delete_owner_age
DELETE FROM owner_ages WHERE owner = :owner AND kind = :kind RETURNING owner;
