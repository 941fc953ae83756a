-- The outbox: what is to be sent to endpoints and callbacks, and what became of it.

-- name: webhooks_to_tell
SELECT id FROM webhooks
WHERE owner = :owner AND active = 1
  AND EXISTS (SELECT 1 FROM json_each(events) WHERE value = :event)
ORDER BY id;

-- name: insert_delivery!
INSERT INTO deliveries (id, webhook_id, url, owner, job_id, event, payload, lane, state, created_at,
                        due_at)
VALUES (:id, :webhook_id, :url, :owner, :job_id, :event, :payload, :lane, 'pending', :now, :now);

-- The lanes behind `after` that have something due, from lane to lane by the index: a lane with
-- many that wait costs no more than one with a single one. Further ahead than any wait: the clock
-- was set back since.
-- name: due_lanes
WITH RECURSIVE lanes (lane) AS (
    SELECT min(lane) FROM deliveries WHERE state = 'pending' AND lane > :after
    UNION ALL
    SELECT (SELECT min(p.lane) FROM deliveries p WHERE p.state = 'pending' AND p.lane > lanes.lane)
    FROM lanes WHERE lanes.lane IS NOT NULL
)
SELECT lane FROM lanes
WHERE lane IS NOT NULL
  AND (EXISTS (SELECT 1 FROM deliveries p
               WHERE p.state = 'pending' AND p.lane = lanes.lane AND p.due_at <= :now)
       OR EXISTS (SELECT 1 FROM deliveries p
                  WHERE p.state = 'pending' AND p.lane = lanes.lane AND p.due_at > :latest))
LIMIT :limit;

-- Whoever takes it has until then to say what became of it.
-- name: claim_delivery
UPDATE deliveries SET attempt = attempt + 1, tries = tries + 1, due_at = :until
WHERE id = (SELECT id FROM deliveries
            WHERE state = 'pending' AND lane = :lane AND (due_at <= :now OR due_at > :latest)
            ORDER BY due_at, id LIMIT 1)
RETURNING id;

-- name: settle_delivery
UPDATE deliveries SET state = :state, due_at = :due_at, ended_at = :ended_at
WHERE id = :id AND attempt = :attempt AND state = 'pending'
RETURNING id;

-- name: insert_try!
INSERT INTO delivery_tries (delivery_id, number, at, took_s, status, answer, fault)
VALUES (:delivery_id, :number, :at, :took_s, :status, :answer, :fault);

-- Nothing more is sent to an endpoint that was switched off.
-- name: give_up_deliveries!
UPDATE deliveries SET state = 'failed', due_at = NULL, ended_at = :now
WHERE webhook_id = :webhook_id AND state = 'pending';

-- name: replay_delivery!
UPDATE deliveries SET state = 'pending', tries = 0, due_at = :now, ended_at = NULL WHERE id = :id;

-- name: replay_failed
UPDATE deliveries SET state = 'pending', tries = 0, due_at = :now, ended_at = NULL
WHERE id IN (SELECT d.id FROM deliveries d LEFT JOIN webhooks w ON w.id = d.webhook_id
             WHERE d.owner = :owner AND d.state = 'failed' AND d.ended_at >= :since
               AND d.event <> 'webhook.test'
               AND (d.webhook_id = :webhook_id OR :webhook_id IS NULL)
               AND (d.webhook_id IS NULL OR w.active = 1)
             ORDER BY d.ended_at LIMIT :limit)
RETURNING id;

-- name: delivery
SELECT d.*, coalesce(d.url, w.url) AS target FROM deliveries d
LEFT JOIN webhooks w ON w.id = d.webhook_id
WHERE d.id = :id;

-- name: tries_of_deliveries
SELECT * FROM delivery_tries
WHERE delivery_id IN (SELECT value FROM json_each(:ids))
ORDER BY delivery_id, number;

-- Pages, newest first, one statement for each index that can lead to one.

-- name: deliveries_page
SELECT d.*, coalesce(d.url, w.url) AS target FROM deliveries d
LEFT JOIN webhooks w ON w.id = d.webhook_id
WHERE d.id < :before AND (d.state = :state OR :state IS NULL)
ORDER BY d.id DESC LIMIT :limit;

-- name: deliveries_page_by_owner
SELECT d.*, coalesce(d.url, w.url) AS target FROM deliveries d
LEFT JOIN webhooks w ON w.id = d.webhook_id
WHERE d.owner = :owner AND d.id < :before AND (d.state = :state OR :state IS NULL)
ORDER BY d.id DESC LIMIT :limit;

-- name: deliveries_page_by_webhook
SELECT d.*, coalesce(d.url, w.url) AS target FROM deliveries d
LEFT JOIN webhooks w ON w.id = d.webhook_id
WHERE d.webhook_id = :webhook_id AND d.id < :before AND (d.owner || '' = :owner OR :owner IS NULL)
  AND (d.state = :state OR :state IS NULL)
ORDER BY d.id DESC LIMIT :limit;

-- name: deliveries_page_by_job
SELECT d.*, coalesce(d.url, w.url) AS target FROM deliveries d
LEFT JOIN webhooks w ON w.id = d.webhook_id
WHERE d.job_id = :job_id AND d.id < :before AND (d.owner || '' = :owner OR :owner IS NULL)
  AND (d.state = :state OR :state IS NULL)
ORDER BY d.id DESC LIMIT :limit;

-- What is still to be sent of a job that is deleted, is sent.
-- name: delete_deliveries_of_job!
DELETE FROM deliveries WHERE job_id = :id AND state <> 'pending';

-- name: prune_deliveries
DELETE FROM deliveries
WHERE id IN (SELECT id FROM deliveries WHERE ended_at < :before ORDER BY ended_at LIMIT :limit)
RETURNING id;
