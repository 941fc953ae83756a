-- What SQLite is asked in words of its own; all else is in ../statements.

-- The latest uploads whose names have `q` in them, by the index of names. Of a name that many have
-- no more than `most`: then jobs are walked through instead, and a page of them is soon full.
-- name: uploads_named
SELECT n.upload_id, n.number FROM upload_names s JOIN upload_numbers n ON n.number = s.rowid
WHERE s.upload_names MATCH '"' || replace(:q, '"', '""') || '"'
ORDER BY s.rowid DESC
LIMIT :most;

-- An admin takes what the scanner found for harmless.
-- name: release_scan
UPDATE jobs
SET scan = json_set(scan, '$.releasedBy', :actor), version = version + 1
WHERE id = :id AND json_extract(scan, '$.verdict') = 'infected'
  AND json_extract(scan, '$.releasedBy') IS NULL
RETURNING id;
