-- What the dashboard and the metrics count. Each costs the same however many jobs there are.

-- name: tallies
SELECT type, status, jobs FROM tallies;

-- name: stored
SELECT type, kind, files, bytes FROM stored;

-- name: oldest_waiting
SELECT created_at FROM jobs INDEXED BY jobs_waiting
WHERE status = 'PENDING' AND type = :type ORDER BY id LIMIT 1;

-- Each slot is `step` minutes from minute `first` on; one in which nothing was noted has no row.
-- name: history
WITH whole_minutes AS (
    SELECT minute, sum(received) AS received, sum(received_bytes) AS received_bytes,
           sum(completed) AS completed, sum(failed) AS failed, sum(busy_s) AS busy_s,
           sum(queued) AS queued, sum(active) AS active, max(oldest_s) AS oldest_s
    FROM minutes
    WHERE minute >= :first AND minute < :end AND (type = :type OR :type IS NULL)
    GROUP BY minute
)
SELECT (minute - :first) / :step AS slot, sum(received) AS received,
       sum(received_bytes) AS received_bytes, sum(completed) AS completed, sum(failed) AS failed,
       sum(busy_s) AS busy_s, avg(queued) AS queued, avg(active) AS active, max(oldest_s) AS oldest_s
FROM whole_minutes GROUP BY slot ORDER BY slot;

-- name: history_of_durations
SELECT (minute - :first) / :step AS slot, upto_s, sum(jobs) AS jobs
FROM minute_durations
WHERE minute >= :first AND minute < :end AND (type = :type OR :type IS NULL)
GROUP BY slot, upto_s ORDER BY slot, upto_s;

-- name: sample_minute!
INSERT INTO minutes (minute, type, queued, active, oldest_s)
SELECT :minute, type, sum(CASE status WHEN 'PENDING' THEN jobs ELSE 0 END),
       sum(CASE status WHEN 'PROCESSING' THEN jobs ELSE 0 END),
       greatest(0.0, :now - coalesce((SELECT created_at FROM jobs j
                                 WHERE j.status = 'PENDING' AND j.type = tallies.type
                                 ORDER BY j.id LIMIT 1), :now))
FROM tallies WHERE true GROUP BY type
ON CONFLICT (minute, type) DO UPDATE SET queued = excluded.queued, active = excluded.active,
                          oldest_s = excluded.oldest_s;

-- name: delete_old_minutes!
DELETE FROM minutes WHERE minute < :before;

-- name: delete_old_durations!
DELETE FROM minute_durations WHERE minute < :before;

-- name: running_jobs
-- As many as there are workers at most.
SELECT j.id, j.type, j.worker, j.progress, j.step, j.started_at, u.filename
FROM jobs j JOIN uploads u ON u.id = j.upload_id
WHERE j.status = 'PROCESSING' ORDER BY j.started_at, j.id LIMIT :limit;
