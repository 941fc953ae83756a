-- What the dashboard and the metrics count. Each costs the same however many jobs there are.

-- name: tallies
SELECT type, status, jobs FROM tallies;

-- name: oldest_waiting
SELECT created_at FROM jobs INDEXED BY jobs_waiting
WHERE status = 'PENDING' AND type = :type ORDER BY id LIMIT 1;

-- name: minutes_since
SELECT * FROM minutes WHERE minute >= :minute ORDER BY minute;

-- name: sample_minute!
INSERT INTO minutes (minute, type, queued, active)
SELECT :minute, type, total(iif(status = 'PENDING', jobs, 0)), total(iif(status = 'PROCESSING', jobs, 0))
FROM tallies WHERE true GROUP BY type
ON CONFLICT DO UPDATE SET queued = excluded.queued, active = excluded.active;

-- name: delete_old_minutes!
DELETE FROM minutes WHERE minute < :before;

-- name: running_jobs
-- As many as there are workers at most.
SELECT j.id, j.type, j.worker, j.progress, j.step, j.started_at, u.filename
FROM jobs j JOIN uploads u ON u.id = j.upload_id
WHERE j.status = 'PROCESSING' ORDER BY j.started_at, j.id LIMIT :limit;
