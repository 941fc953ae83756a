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

-- name: forget_old_backups!
DELETE FROM backups WHERE began_at NOT IN (SELECT began_at FROM backups ORDER BY began_at DESC LIMIT 100);

-- name: latest_backups
SELECT * FROM backups ORDER BY began_at DESC LIMIT :limit;

-- name: newest_backup_of
SELECT faults FROM backups WHERE place = :place AND snapshot IS NOT NULL
ORDER BY began_at DESC LIMIT 1;
