-- name: insert_upload_link!
INSERT INTO upload_links (id, owner, token_hash, note, preset, files, max_bytes, types, created_at,
                          expires_at)
VALUES (:id, :owner, :token_hash, :note, :preset, :files, :max_bytes, :types, :created_at,
        :expires_at);

-- name: upload_link_by_token
SELECT l.*, (SELECT count(*) FROM upload_link_uses s WHERE s.link_id = l.id) AS used
FROM upload_links l WHERE l.token_hash = :token_hash;

-- name: upload_link_by_id
SELECT l.*, (SELECT count(*) FROM upload_link_uses s WHERE s.link_id = l.id) AS used
FROM upload_links l WHERE l.id = :id AND (l.owner = :owner OR :owner IS NULL);

-- name: upload_link_page
SELECT l.*, (SELECT count(*) FROM upload_link_uses s WHERE s.link_id = l.id) AS used
FROM upload_links l WHERE l.owner = :owner AND l.id < :before
ORDER BY l.id DESC LIMIT :limit;

-- name: use_upload_link!
INSERT INTO upload_link_uses (link_id, job_id) SELECT :id, value FROM json_each(:job_ids);

-- name: revoke_upload_link
UPDATE upload_links SET revoked_at = :now
WHERE id = :id AND revoked_at IS NULL AND (owner = :owner OR :owner IS NULL) RETURNING owner;

-- name: secret
SELECT value FROM secrets WHERE name = :name;

-- name: insert_secret!
INSERT INTO secrets (name, value) VALUES (:name, :value) ON CONFLICT DO NOTHING;

-- name: links_ended_of_job
SELECT links_ended FROM jobs WHERE id = :id;

-- name: end_links_of_job
UPDATE jobs SET links_ended = links_ended + 1 WHERE id = :id RETURNING links_ended;
