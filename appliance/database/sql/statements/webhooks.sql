-- Endpoints, and the secrets that sign what is sent.

-- name: insert_webhook!
INSERT INTO webhooks (id, owner, url, events, description, active, secret, created_at)
VALUES (:id, :owner, :url, :events, :description, :active, :secret, :created_at);

-- name: webhook
SELECT * FROM webhooks WHERE id = :id;

-- `owner` NULL: everybody's. Newest first; `before` is an id, or '~', which sorts behind all ids.
-- name: webhook_page
SELECT * FROM webhooks
WHERE id < :before AND (owner = :owner OR :owner IS NULL)
ORDER BY id DESC LIMIT :limit;

-- name: count_webhooks
SELECT count(*) AS webhooks FROM webhooks WHERE owner = :owner;

-- Switched on, it begins anew: what failed before is forgotten.
-- name: change_webhook
UPDATE webhooks
SET url = :url, events = :events, description = :description, active = :active,
    failing_since = CASE WHEN CAST(:active AS BIGINT) = 1 AND active = 0 THEN NULL ELSE failing_since END,
    disabled_at = CASE CAST(:active AS BIGINT) WHEN 1 THEN NULL ELSE disabled_at END,
    disabled_reason = CASE CAST(:active AS BIGINT) WHEN 1 THEN NULL ELSE disabled_reason END
WHERE id = :id
RETURNING *;

-- name: delete_webhook
DELETE FROM webhooks WHERE id = :id RETURNING id;

-- name: rotate_webhook_secret
UPDATE webhooks SET secret = :secret, old_secret = secret, old_until = :old_until
WHERE id = :id
RETURNING *;

-- name: webhook_works!
UPDATE webhooks SET failing_since = NULL WHERE id = :id AND failing_since IS NOT NULL;

-- name: webhook_fails
UPDATE webhooks SET failing_since = coalesce(failing_since, :now) WHERE id = :id
RETURNING failing_since;

-- name: disable_webhook
UPDATE webhooks SET active = 0, disabled_at = :now, disabled_reason = :reason
WHERE id = :id AND active = 1
RETURNING id;

-- name: webhooks_disabled_after
SELECT * FROM webhooks WHERE disabled_at > :after ORDER BY disabled_at;

-- name: callback_secret
SELECT * FROM callback_secrets WHERE owner = :owner;

-- name: make_callback_secret!
INSERT INTO callback_secrets (owner, secret) VALUES (:owner, :secret) ON CONFLICT DO NOTHING;

-- name: rotate_callback_secret
INSERT INTO callback_secrets (owner, secret) VALUES (:owner, :secret)
ON CONFLICT (owner) DO UPDATE
SET secret = excluded.secret, old_secret = callback_secrets.secret, old_until = :old_until
RETURNING *;
