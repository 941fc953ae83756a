-- What the dashboard and the metrics count. Each reads an index no larger than what it counts.

-- name: queued_by_type
SELECT type, count(*) AS jobs, min(created_at) AS oldest_at FROM jobs
WHERE status = 'PENDING' GROUP BY type;

-- name: count_retrying
SELECT count(*) AS jobs FROM jobs WHERE status = 'RETRYING';

-- name: processing_by_type
SELECT type, count(*) AS jobs FROM jobs WHERE status = 'PROCESSING' GROUP BY type;

-- name: count_dead_letters
SELECT count(*) AS jobs FROM dead_letters;

-- name: received_per_minute
SELECT CAST((created_at - :since) / 60 AS INTEGER) AS minute, count(*) AS jobs
FROM jobs WHERE created_at >= :since GROUP BY minute;

-- name: finished_per_minute
SELECT CAST((finished_at - :since) / 60 AS INTEGER) AS minute, status, count(*) AS jobs,
       sum(finished_at - started_at) AS busy_s
FROM jobs WHERE finished_at >= :since GROUP BY minute, status;
