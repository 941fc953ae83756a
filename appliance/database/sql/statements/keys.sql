-- name: insert_key!
INSERT INTO api_keys (id, name, role, scopes, prefix, secret_hash, created_at, expires_at,
                      quota_bytes)
VALUES (:id, :name, :role, :scopes, :prefix, :secret_hash, :created_at, :expires_at, :quota_bytes);

-- name: key_by_secret
SELECT * FROM api_keys WHERE secret_hash = :secret_hash;

-- name: key_by_id
SELECT * FROM api_keys WHERE id = :id;

-- name: quota_of_key
SELECT quota_bytes FROM api_keys WHERE id = :id AND quota_bytes IS NOT NULL;

-- name: keys
SELECT * FROM api_keys ORDER BY id;

-- name: key_page
SELECT * FROM api_keys WHERE id < :before ORDER BY id DESC LIMIT :limit;

-- name: revoke_key
UPDATE api_keys SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL
RETURNING secret_hash;

-- name: note_key_use!
UPDATE api_keys SET last_used_at = :at WHERE id = :id;

-- name: delete_sessions_of
DELETE FROM sessions WHERE owner = :owner RETURNING token_hash;

-- name: insert_session!
INSERT INTO sessions (id, token_hash, owner, key_id, person_id, created_at, expires_at, address,
                      agent)
VALUES (:id, :token_hash, :owner, :key_id, :person_id, :now, :expires_at, :address, :agent);

-- A session is in force as long as its key, or its person, is let in.
-- name: session_by_token
SELECT s.*, coalesce(k.name, p.name) AS name, coalesce(k.role, p.role) AS role, k.scopes
FROM sessions s LEFT JOIN api_keys k ON k.id = s.key_id LEFT JOIN people p ON p.id = s.person_id
WHERE s.token_hash = :token_hash AND s.expires_at > :now
  AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > :now)
  AND p.blocked_at IS NULL;

-- name: session_page
SELECT s.*, coalesce(k.name, p.name) AS name, coalesce(k.role, p.role) AS role
FROM sessions s LEFT JOIN api_keys k ON k.id = s.key_id LEFT JOIN people p ON p.id = s.person_id
WHERE s.id < :before AND s.expires_at > :now AND (s.owner = :owner OR :owner IS NULL)
  AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > :now)
  AND p.blocked_at IS NULL
ORDER BY s.id DESC LIMIT :limit;

-- name: note_session_use!
UPDATE sessions SET last_used_at = :at WHERE id = :id;

-- name: delete_session
DELETE FROM sessions WHERE token_hash = :token_hash RETURNING id;

-- name: delete_session_by_id
DELETE FROM sessions WHERE id = :id AND (owner = :owner OR :owner IS NULL)
RETURNING token_hash, owner;

-- name: delete_expired_sessions
DELETE FROM sessions WHERE expires_at <= :now RETURNING token_hash;

-- name: insert_signin_link!
INSERT INTO signin_links (token_hash, key_id, expires_at)
VALUES (:token_hash, :key_id, :expires_at);

-- name: use_signin_link
UPDATE signin_links SET used_at = :now
WHERE token_hash = :token_hash AND used_at IS NULL AND expires_at > :now
RETURNING key_id;

-- name: delete_expired_signin_links!
DELETE FROM signin_links WHERE expires_at <= :now;
