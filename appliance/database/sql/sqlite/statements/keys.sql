-- name: insert_key!
INSERT INTO api_keys (id, name, role, prefix, secret_hash, created_at, expires_at)
VALUES (:id, :name, :role, :prefix, :secret_hash, :created_at, :expires_at);

-- name: key_by_secret
SELECT * FROM api_keys WHERE secret_hash = :secret_hash;

-- name: key_by_id
SELECT * FROM api_keys WHERE id = :id;

-- name: keys
SELECT * FROM api_keys ORDER BY id;

-- name: revoke_key
UPDATE api_keys SET revoked_at = :now WHERE id = :id AND revoked_at IS NULL RETURNING id;

-- name: delete_sessions_of_key!
DELETE FROM sessions WHERE key_id = :key_id;

-- name: insert_session!
INSERT INTO sessions (token_hash, key_id, created_at, expires_at)
VALUES (:token_hash, :key_id, :now, :expires_at);

-- name: session_key
SELECT k.* FROM sessions s JOIN api_keys k ON k.id = s.key_id
WHERE s.token_hash = :token_hash AND s.expires_at > :now;

-- name: delete_session!
DELETE FROM sessions WHERE token_hash = :token_hash;

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
