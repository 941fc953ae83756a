-- name: welcome_person
INSERT INTO people (id, owner, name, email, role, first_seen_at, signed_in_at)
VALUES (:id, :owner, :name, :email, :role, :first_seen_at, :signed_in_at)
ON CONFLICT (owner) DO UPDATE SET name = excluded.name, email = excluded.email,
    role = excluded.role, signed_in_at = excluded.signed_in_at
RETURNING *;

-- name: people
SELECT * FROM people ORDER BY signed_in_at DESC LIMIT :limit;

-- name: person_of
SELECT * FROM people WHERE owner = :owner;

-- name: set_person_blocked
UPDATE people SET blocked_at = :blocked_at WHERE id = :id RETURNING *;
