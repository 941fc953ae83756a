-- Trying dead letters again, in waves.

-- name: insert_redrive!
INSERT INTO redrives (id, actor, created_at, state, staged, filter, once)
VALUES (:id, :actor, :now, 'running', :staged, :filter, :once);

-- name: redrive_begun_by
SELECT id FROM redrives WHERE actor = :actor AND once = :once;

-- name: collect_redrive_jobs
-- In waves, what waits for one already is left out: a form that is sent twice begins one wave.
INSERT INTO redrive_jobs (redrive_id, job_id)
SELECT :id, d.job_id FROM dead_letters d
WHERE NOT (:staged = 1 AND EXISTS (SELECT 1 FROM redrive_jobs r JOIN redrives ON redrives.id = r.redrive_id
                               WHERE r.job_id = d.job_id AND r.wave IS NULL AND r.outcome IS NULL
                                 AND redrives.state = 'running'))
  AND (d.job_id IN (SELECT value FROM json_each(:ids)) OR :ids IS NULL)
  AND (d.fingerprint = :fingerprint OR :fingerprint IS NULL)
  AND (d.owner = :owner OR :owner IS NULL)
  AND (d.type = :type OR :type IS NULL)
  AND (d.error_code = :code OR :code IS NULL)
  AND (d.created_at >= :since OR :since IS NULL)
  AND (d.created_at < :until OR :until IS NULL)
ORDER BY d.job_id
LIMIT :limit
RETURNING job_id;

-- name: next_redrive_jobs
SELECT job_id FROM redrive_jobs
WHERE redrive_id = :id AND wave IS NULL AND outcome IS NULL
ORDER BY job_id LIMIT :limit;

-- name: set_redrive_wave!
UPDATE redrive_jobs SET wave = :wave WHERE redrive_id = :id AND job_id = :job_id;

-- name: set_redrive_gone!
UPDATE redrive_jobs SET outcome = 'gone' WHERE redrive_id = :id AND job_id = :job_id;

-- name: begin_redrive_wave!
UPDATE redrives SET wave = :wave WHERE id = :id AND state = 'running';

-- What has become of the jobs that were tried again.
-- name: settle_redrive_jobs
UPDATE redrive_jobs
SET outcome = coalesce((SELECT CASE j.status WHEN 'COMPLETED' THEN 'completed' WHEN 'FAILED' THEN 'failed'
                               WHEN 'CANCELLED' THEN 'cancelled' END
                        FROM jobs j WHERE j.id = job_id),
                       CASE WHEN NOT EXISTS (SELECT 1 FROM jobs j WHERE j.id = job_id) THEN 'gone' END)
WHERE redrive_id = :id AND wave IS NOT NULL AND outcome IS NULL
RETURNING job_id, outcome;

-- name: redrive_counts
SELECT wave, outcome, count(*) AS jobs FROM redrive_jobs WHERE redrive_id = :id GROUP BY wave, outcome;

-- name: end_redrive
UPDATE redrives SET state = :state, ended_at = :now WHERE id = :id AND state = 'running' RETURNING id;

-- name: stop_redrive
UPDATE redrives SET state = 'stopped', ended_at = :now, stopped_by = :actor
WHERE id = :id AND state = 'running'
RETURNING id;

-- name: redrive
SELECT * FROM redrives WHERE id = :id;

-- name: redrives
SELECT * FROM redrives WHERE id < :before ORDER BY id DESC LIMIT :limit;

-- The oldest of its jobs that is still there, with its last failure.
-- name: redrive_example
SELECT r.job_id, j.type, u.filename, a.error_code, a.step
FROM redrive_jobs r
JOIN jobs j ON j.id = r.job_id
JOIN uploads u ON u.id = j.upload_id
JOIN attempts a ON a.job_id = r.job_id AND a.error_code IS NOT NULL
WHERE r.redrive_id = :id
ORDER BY r.job_id, a.number DESC
LIMIT 1;

-- name: running_redrives
SELECT * FROM redrives WHERE state = 'running' ORDER BY id;

-- name: stopped_redrives
SELECT * FROM redrives WHERE state = 'stopped' AND stopped_by IS NULL AND ended_at > :after
ORDER BY ended_at;

-- One that stopped has jobs of its last wave under way. `wave > 0` finds them by the index, past
-- what was never begun.
-- name: unsettled_redrives
SELECT id FROM redrives
WHERE state = 'stopped'
  AND EXISTS (SELECT 1 FROM redrive_jobs r
              WHERE r.redrive_id = redrives.id AND r.wave > 0 AND r.outcome IS NULL)
ORDER BY id;

-- name: delete_old_redrive_jobs!
DELETE FROM redrive_jobs WHERE redrive_id IN (SELECT id FROM redrives WHERE ended_at < :before);

-- name: delete_old_redrives
DELETE FROM redrives WHERE ended_at < :before RETURNING id;
