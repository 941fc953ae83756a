-- What owners have here. How much in all is kept in `usage` by triggers; of what kind, and where,
-- is counted when somebody asks, by going through the files of those owners.

-- name: usage_by_place
SELECT u.owner, (SELECT type FROM jobs WHERE upload_id = u.id LIMIT 1) AS type,
       'originals' AS kind, CASE WHEN u.cold_since IS NULL THEN 'hot' ELSE 'cold' END AS place,
       count(*) AS files, sum(u.size_bytes) AS size_bytes
FROM json_each(:owners) AS o CROSS JOIN uploads AS u INDEXED BY uploads_by_content
WHERE u.owner = o.value AND u.expired_at IS NULL
GROUP BY 1, 2, 4
UNION ALL
SELECT j.owner, j.type, 'results', 'hot', count(*), sum(f.size_bytes)
FROM json_each(:owners) AS o CROSS JOIN jobs AS j INDEXED BY jobs_by_owner CROSS JOIN files AS f
WHERE j.owner = o.value AND f.job_id = j.id
GROUP BY 1, 2
ORDER BY size_bytes DESC;

-- name: usage_of_owners
SELECT owner, bytes AS size_bytes, originals AS files FROM usage
WHERE owner IN (SELECT value FROM json_each(:owners));

-- name: largest_owners
SELECT owner, bytes AS size_bytes, originals AS files FROM usage
WHERE bytes > 0 OR originals > 0 ORDER BY bytes DESC, owner LIMIT :limit;

-- name: usage_in_all
SELECT count(*) AS owners, coalesce(sum(bytes), 0) AS size_bytes,
       coalesce(sum(originals), 0) AS files
FROM usage WHERE bytes > 0 OR originals > 0;
