-- What becomes of files with age, and what is kept from it.

-- Originals that no job needs now: behind :after, made before the id :before.
-- name: to_make_cold
SELECT id, filename AS name, storage_key, size_bytes, sha256 FROM uploads AS u
WHERE cold_since IS NULL AND missing_since IS NULL AND id > :after AND id < :before
  AND NOT EXISTS (SELECT 1 FROM jobs WHERE upload_id = u.id
                  AND status IN ('PENDING', 'PROCESSING', 'RETRYING'))
ORDER BY id LIMIT :limit;

-- name: mark_cold
UPDATE uploads SET cold_since = :now WHERE id = :id AND cold_since IS NULL RETURNING id;

-- name: note_lifecycle!
INSERT INTO lifecycle ("only", ran_at, files, bytes, error) VALUES (1, :now, :files, :bytes, :error)
ON CONFLICT ("only") DO UPDATE SET ran_at = :now, files = :files, bytes = :bytes, error = :error;

-- name: lifecycle
SELECT ran_at, files, bytes, error FROM lifecycle;

-- name: cold_totals
SELECT files, bytes FROM cold;

-- name: due_totals
SELECT count(*) AS files, coalesce(sum(size_bytes), 0) AS bytes FROM uploads AS u
WHERE cold_since IS NULL AND missing_since IS NULL AND id < :before
  AND NOT EXISTS (SELECT 1 FROM jobs WHERE upload_id = u.id
                  AND status IN ('PENDING', 'PROCESSING', 'RETRYING'));

-- The same jobs as in jobs_to_prune. An original that several of them have counts with the first.
-- name: prunable_totals
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
SELECT j.owner, j.type, count(*) AS files,
    coalesce(sum(CASE WHEN j.id = (SELECT min(id) FROM jobs WHERE upload_id = j.upload_id)
                      THEN u.size_bytes ELSE 0 END), 0)
    + coalesce(sum((SELECT sum(size_bytes) FROM files WHERE job_id = j.id)), 0) AS size_bytes
FROM due JOIN jobs AS j ON j.id = due.id JOIN uploads AS u ON u.id = j.upload_id
WHERE NOT EXISTS (SELECT 1 FROM dead_letters d WHERE d.job_id = j.id)
  AND NOT EXISTS (SELECT 1 FROM pins p WHERE p.job_id = j.id)
GROUP BY j.owner, j.type ORDER BY size_bytes DESC;

-- Walks through all files.
-- name: usage_by_place
SELECT u.owner, (SELECT type FROM jobs WHERE upload_id = u.id LIMIT 1) AS type,
       'originals' AS kind, CASE WHEN u.cold_since IS NULL THEN 'hot' ELSE 'cold' END AS place,
       count(*) AS files, sum(u.size_bytes) AS size_bytes
FROM uploads AS u GROUP BY 1, 2, 4
UNION ALL
SELECT j.owner, j.type, 'results', 'hot', count(*), sum(f.size_bytes)
FROM files AS f JOIN jobs AS j ON j.id = f.job_id GROUP BY 1, 2
ORDER BY size_bytes DESC;

-- name: owner_ages
SELECT owner, days FROM owner_ages ORDER BY owner;

-- name: set_owner_age!
INSERT INTO owner_ages (owner, days) VALUES (:owner, :days)
ON CONFLICT (owner) DO UPDATE SET days = :days;

-- name: delete_owner_age
DELETE FROM owner_ages WHERE owner = :owner RETURNING owner;

-- name: pin_of
SELECT job_id, actor, reason, pinned_at FROM pins WHERE job_id = :job_id;

-- name: set_pin!
INSERT INTO pins (job_id, actor, reason, pinned_at) VALUES (:job_id, :actor, :reason, :now)
ON CONFLICT (job_id) DO UPDATE SET actor = :actor, reason = :reason;

-- name: delete_pin
DELETE FROM pins WHERE job_id = :job_id RETURNING job_id;

-- name: pins_of
SELECT job_id, actor, reason, pinned_at FROM pins
WHERE job_id IN (SELECT value FROM json_each(:job_ids));
