-- The processes: their lives, their heartbeats, and what the lost ones held.

-- name: insert_worker!
INSERT INTO workers (id, node, kind, host, pid, version, started_at, beat_at)
VALUES (:id, :node, :kind, :host, :pid, :version, :now, :now);

-- name: delete_worker!
DELETE FROM workers WHERE id = :id;

-- name: delete_idle_workers!
-- Lives that have ended and hold nothing any more. `judged` is JSON: {worker id: the beat that was
-- seen}; one that has beaten since is left alone.
DELETE FROM workers
WHERE id IN (SELECT key FROM json_each(:judged))
  AND beat = (SELECT CAST(value AS BIGINT) FROM json_each(:judged) WHERE key = workers.id)
  AND NOT EXISTS (SELECT 1 FROM jobs WHERE status = 'PROCESSING' AND worker = workers.id);

-- Lives that have ended without a word, by the beat that was seen, as above.
-- name: mark_gone
UPDATE workers SET gone_at = :now
WHERE gone_at IS NULL
  AND id IN (SELECT key FROM json_each(:judged))
  AND beat = (SELECT CAST(value AS BIGINT) FROM json_each(:judged) WHERE key = workers.id)
RETURNING id;

-- name: delete_gone!
DELETE FROM workers
WHERE gone_at < :before
  AND NOT EXISTS (SELECT 1 FROM jobs WHERE status = 'PROCESSING' AND worker = workers.id);

-- A worker that was given up by mistake is back with its next beat.
-- name: beat_worker
INSERT INTO workers (id, node, kind, host, pid, version, started_at, beat_at, pools)
VALUES (:id, :node, :kind, :host, :pid, :version, :now, :now, :pools)
ON CONFLICT (id) DO UPDATE SET beat = workers.beat + 1, beat_at = :now, pools = :pools, gone_at = NULL
RETURNING beat;

-- name: beat_jobs
-- `running` is JSON: {job id: attempt number}.
UPDATE jobs SET beat = beat + 1
WHERE status = 'PROCESSING'
  AND id IN (SELECT key FROM json_each(:running))
  AND attempt = (SELECT CAST(value AS BIGINT) FROM json_each(:running) WHERE key = jobs.id)
RETURNING id;

-- name: standing_jobs
SELECT id FROM jobs
WHERE status = 'PROCESSING'
  AND id IN (SELECT key FROM json_each(:running))
  AND attempt = (SELECT CAST(value AS BIGINT) FROM json_each(:running) WHERE key = jobs.id);

-- name: workers
SELECT * FROM workers ORDER BY started_at;

-- name: pools
SELECT pools FROM workers WHERE gone_at IS NULL ORDER BY started_at;

-- name: previous_lives
SELECT * FROM workers WHERE node = :node AND id <> :id;

-- name: leases
SELECT id, attempt, worker, beat FROM jobs WHERE status = 'PROCESSING';

-- name: probe_writing!
UPDATE tallies SET jobs = jobs WHERE type = 'ANY' AND status = 'CANCELLED';

-- name: add_scaling!
INSERT INTO scalings (at, type, node, workers_before, workers_after, reason)
VALUES (:at, :type, :node, :workers_before, :workers_after, :reason);

-- name: trim_scalings!
DELETE FROM scalings
WHERE type = :type
  AND id <= (SELECT id FROM scalings WHERE type = :type ORDER BY id DESC LIMIT 1 OFFSET :keep);

-- name: scalings
SELECT * FROM scalings ORDER BY id DESC LIMIT :limit;
