-- What an admin has stopped: a type of jobs, or an owner's.

-- name: set_pause!
INSERT INTO pauses (kind, name, reason, actor, since, until)
VALUES (:kind, :name, :reason, :actor, :since, :until)
ON CONFLICT (kind, name) DO UPDATE SET reason = :reason, actor = :actor, since = :since, until = :until;

-- name: delete_pause
DELETE FROM pauses WHERE kind = :kind AND name = :name RETURNING *;

-- name: delete_ended_pauses
DELETE FROM pauses WHERE until <= :now RETURNING *;

-- name: pauses_in_force
SELECT * FROM pauses WHERE until IS NULL OR until > :now ORDER BY kind DESC, name;
