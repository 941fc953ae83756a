-- Backups taken or tried, and their proofs.

-- name: begin_backup!
INSERT INTO backups (began_at, place) VALUES (:now, :place);

-- name: end_backup!
UPDATE backups SET ended_at = :now, snapshot = :snapshot, files = :files,
    size_bytes = :size_bytes, new_bytes = :new_bytes, lacking = :lacking, error = :error
WHERE began_at = :began_at;

-- name: prove_backup!
UPDATE backups SET proven_at = :now, faults = :faults
WHERE place = :place AND snapshot = :snapshot;

-- The last that was taken in a place and the last proof stay, however old they are. A time after
-- `latest` lies in the future: then the clock was set back, and what it told counts as the oldest.
-- name: forget_old_backups!
DELETE FROM backups
WHERE began_at NOT IN (
    SELECT began_at FROM backups ORDER BY began_at > :latest, began_at DESC LIMIT :limit)
  AND (snapshot IS NULL OR EXISTS (
    SELECT 1 FROM backups AS later WHERE later.place = backups.place
      AND later.snapshot IS NOT NULL AND later.began_at > backups.began_at
      AND later.began_at <= :latest))
  AND (proven_at IS NULL OR EXISTS (
    SELECT 1 FROM backups AS later WHERE later.place = backups.place
      AND later.faults IS NULL AND later.proven_at > backups.proven_at
      AND later.proven_at <= :latest));

-- name: latest_backups
SELECT * FROM backups ORDER BY began_at > :latest, began_at DESC LIMIT :limit;

-- name: last_proof
SELECT max(proven_at) AS at, max(CASE WHEN faults IS NULL THEN proven_at END) AS sound_at
FROM backups WHERE (place = :place OR :place IS NULL) AND proven_at <= :latest;

-- name: newest_backup_of
SELECT faults FROM backups WHERE place = :place AND snapshot IS NOT NULL
ORDER BY began_at > :latest, began_at DESC LIMIT 1;
