-- Resumable uploads. Each move names the state that it leaves.

-- name: insert_resumable!
INSERT INTO resumable_uploads (id, owner, state, kind, length, by_length, announced, options,
                               tus_metadata, tus_concat, parts, created_at, expires_at)
VALUES (:id, :owner, 'open', :kind, :length, :by_length, :announced, :options, :tus_metadata,
        :tus_concat, :parts, :now, :expires_at);

-- name: resumable
SELECT * FROM resumable_uploads WHERE id = :id;

-- The offset never shrinks: what a client was told stays true. Only bytes buy more time, so that
-- nobody keeps an upload open by asking.
-- name: advance_resumable
UPDATE resumable_uploads
SET "offset" = :offset, length = coalesce(length, :length), closed = greatest(closed, :closed),
    by_length = greatest(by_length, :by_length),
    expires_at = CASE WHEN "offset" < :offset THEN greatest(expires_at, :expires_at)
                      ELSE expires_at END
WHERE id = :id AND state = 'open' AND "offset" <= :offset
RETURNING *;

-- name: end_resumable
UPDATE resumable_uploads SET state = :state, ended_at = :now, error = :error
WHERE id = :id AND state = 'open'
RETURNING *;

-- name: open_resumables
SELECT id, "offset" FROM resumable_uploads WHERE state = 'open';

-- Every byte of them is in: a crash came between the last one and the job.
-- name: full_resumables
SELECT id FROM resumable_uploads
WHERE state = 'open' AND (closed = 1 OR (by_length = 1 AND length = "offset"));

-- name: expired_resumables
SELECT id FROM resumable_uploads WHERE state = 'open' AND expires_at <= :now
ORDER BY expires_at LIMIT :limit;

-- Partial ones that are complete wait for the one that joins them, for as long as they may.
-- name: expired_parts
SELECT id FROM resumable_uploads
WHERE state = 'completed' AND kind = 'partial' AND ended_at <= :before
ORDER BY ended_at LIMIT :limit;

-- name: delete_ended_resumables
DELETE FROM resumable_uploads
WHERE ended_at <= :before AND NOT (state = 'completed' AND kind = 'partial')
RETURNING id;

-- name: delete_resumable!
DELETE FROM resumable_uploads WHERE id = :id AND state <> 'open';

-- What an owner's open uploads may still come to. One that is being joined takes what its parts
-- took: they are counted until it is complete, and gone then.
-- name: open_of_owner
SELECT count(*) AS uploads, count(*) FILTER (WHERE kind <> 'partial') AS files,
       coalesce(sum(CASE kind WHEN 'final' THEN 0 ELSE coalesce(length, "offset") END), 0) AS bytes
FROM resumable_uploads WHERE owner = :owner AND state = 'open';

-- name: parts_of_owner
SELECT coalesce(sum("offset"), 0) AS bytes FROM resumable_uploads
WHERE owner = :owner AND state = 'completed' AND kind = 'partial';

-- name: delete_joined_parts
DELETE FROM resumable_uploads
WHERE id IN (SELECT value FROM json_each(:ids)) AND state = 'completed' AND kind = 'partial'
RETURNING id;

-- Of all owners. As many rows as there are open uploads.
-- name: open_uploads
SELECT count(*) AS uploads, coalesce(sum("offset"), 0) AS bytes FROM resumable_uploads WHERE state = 'open';

-- Bytes that expired uploads have given back, of those that are remembered.
-- name: reclaimed_bytes
SELECT coalesce(sum("offset"), 0) AS bytes FROM resumable_uploads WHERE state = 'expired' AND ended_at >= :since;

-- name: usage_of_owner
SELECT bytes, originals FROM usage WHERE owner = :owner;

-- name: completed_job_of_content
SELECT j.id FROM uploads u JOIN jobs j ON j.upload_id = u.id
WHERE u.owner = :owner AND u.sha256 = :sha256 AND j.preset = :preset AND j.status = 'COMPLETED'
  AND j.files_left = 'all'
ORDER BY j.id DESC LIMIT 1;

-- name: idempotency_key
SELECT content, job_ids FROM idempotency_keys WHERE owner = :owner AND key = :key;

-- name: insert_idempotency_key!
INSERT INTO idempotency_keys (owner, key, content, job_ids, created_at)
VALUES (:owner, :key, :content, :job_ids, :now);

-- name: delete_old_idempotency_keys
DELETE FROM idempotency_keys WHERE created_at <= :before RETURNING key;

-- name: complete_parts
SELECT id, "offset" FROM resumable_uploads WHERE state = 'completed' AND kind = 'partial';

-- What is on its way in lies nowhere any more: the database was restored from a backup.
-- name: forget_unfinished_resumables!
DELETE FROM resumable_uploads
WHERE state = 'open' OR (state = 'completed' AND kind = 'partial');
