-- What PostgreSQL is asked in words of its own; all else is in ../statements.

-- The latest uploads whose names have `q` in them, by the index of names. Of a name that many have
-- no more than `most`: then jobs are walked through instead, and a page of them is soon full.
-- name: uploads_named
SELECT n.upload_id, n.number FROM upload_numbers n JOIN uploads u ON u.id = n.upload_id
WHERE lowered(u.filename) LIKE
    '%' || replace(replace(replace(lowered(:q), '\', '\\'), '%', '\%'), '_', '\_') || '%'
ORDER BY n.number DESC
LIMIT :most;

-- An admin takes what the scanner found for harmless.
-- name: release_scan
UPDATE jobs
SET scan = jsonb_set(scan::jsonb, '{releasedBy}', to_jsonb(CAST(:actor AS TEXT))),
    version = version + 1
WHERE id = :id AND scan ->> 'verdict' = 'infected' AND scan ->> 'releasedBy' IS NULL
RETURNING id;
