-- The cold place, and what is kept from being deleted.

-- Originals that no job needs now: behind :after, made before the id :before, and large enough.
-- name: to_make_cold
SELECT id, filename AS name, storage_key, size_bytes, sha256 FROM uploads AS u
WHERE cold_since IS NULL AND expired_at IS NULL AND missing_since IS NULL
  AND id > :after AND id < :before AND size_bytes >= :least_bytes
  AND NOT EXISTS (SELECT 1 FROM jobs WHERE upload_id = u.id
                  AND status IN ('PENDING', 'PROCESSING', 'RETRYING'))
ORDER BY id LIMIT :limit;

-- name: mark_cold
UPDATE uploads SET cold_since = :now
WHERE id = :id AND cold_since IS NULL AND expired_at IS NULL
RETURNING id;

-- name: note_lifecycle!
INSERT INTO lifecycle ("only", ran_at, files, bytes, error) VALUES (1, :now, :files, :bytes, :error)
ON CONFLICT ("only") DO UPDATE SET ran_at = :now, files = :files, bytes = :bytes, error = :error;

-- name: lifecycle
SELECT ran_at, files, bytes, error FROM lifecycle;

-- name: cold_totals
SELECT files, bytes FROM cold;

-- name: pin_of
SELECT job_id, actor, reason, pinned_at FROM pins WHERE job_id = :job_id;

-- name: set_pin!
INSERT INTO pins (job_id, actor, reason, pinned_at) VALUES (:job_id, :actor, :reason, :now)
ON CONFLICT (job_id) DO UPDATE SET actor = :actor, reason = :reason;

-- name: delete_pin
DELETE FROM pins WHERE job_id = :job_id RETURNING job_id;

-- name: pins_of
SELECT job_id, actor, reason, pinned_at FROM pins
WHERE job_id IN (SELECT value FROM json_each(:job_ids));
