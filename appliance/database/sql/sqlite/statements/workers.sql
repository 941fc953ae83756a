-- The processes that claim jobs: their lives, their heartbeats, and what the lost ones held.

-- name: insert_worker!
INSERT INTO workers (id, node, started_at, beat_at) VALUES (:id, :node, :now, :now);

-- name: delete_worker!
DELETE FROM workers WHERE id = :id;

-- name: delete_idle_workers!
-- Lives that have ended and hold nothing any more.
DELETE FROM workers
WHERE id IN (SELECT value FROM json_each(:ids))
  AND NOT EXISTS (SELECT 1 FROM jobs WHERE status = 'PROCESSING' AND worker = workers.id);

-- name: beat_worker
UPDATE workers SET beat = beat + 1, beat_at = :now WHERE id = :id RETURNING beat;

-- name: beat_jobs
-- `running` is JSON: {job id: attempt number}.
UPDATE jobs SET beat = beat + 1
WHERE status = 'PROCESSING'
  AND id IN (SELECT key FROM json_each(:running))
  AND attempt = (SELECT value FROM json_each(:running) WHERE key = jobs.id)
RETURNING id;

-- name: workers
SELECT * FROM workers ORDER BY started_at;

-- name: previous_lives
SELECT id FROM workers WHERE node = :node AND id <> :id;

-- name: leases
SELECT id, attempt, worker, beat FROM jobs WHERE status = 'PROCESSING';
