-- Which job is next: higher priority first, then the owners in turn.

-- name: ready_jobs
-- Jobs of both sizes, each from its end of the index.
SELECT id FROM (
    SELECT * FROM (SELECT id, priority, turn FROM jobs
                   WHERE status = 'PENDING' AND type = :type AND large = 0
                   ORDER BY priority DESC, turn, id LIMIT :limit) AS small
    UNION ALL
    SELECT * FROM (SELECT id, priority, turn FROM jobs
                   WHERE status = 'PENDING' AND type = :type AND large = 1 AND :small_only = 0
                   ORDER BY priority DESC, turn, id LIMIT :limit) AS large
) AS ready
ORDER BY priority DESC, turn, id
LIMIT :limit;

-- name: ready_jobs_of_others
-- While owners are paused: the first job of each of the others. It costs a look for every owner.
SELECT j.id FROM (SELECT DISTINCT owner FROM lanes WHERE type = :type AND owner <> '') l
JOIN jobs j ON j.id = (
    SELECT n.id FROM jobs n
    WHERE n.status = 'PENDING' AND n.type = :type AND n.owner = l.owner
      AND (n.large = 0 OR :small_only = 0)
    ORDER BY n.priority DESC, n.turn, n.id LIMIT 1
)
WHERE l.owner NOT IN (SELECT value FROM json_each(:paused_owners))
ORDER BY j.priority DESC, j.turn, j.id
LIMIT :limit;

-- The next turn of an owner within a priority: one after his last, but not before the present.
-- name: take_turn
INSERT INTO lanes (type, priority, owner, turn)
VALUES (:type, :priority, :owner,
        coalesce((SELECT c.turn FROM lanes c
                  WHERE c.type = :type AND c.priority = :priority AND c.owner = ''), 1))
ON CONFLICT (type, priority, owner) DO UPDATE SET turn = greatest(
    lanes.turn + 1,
    coalesce((SELECT c.turn FROM lanes c
              WHERE c.type = :type AND c.priority = :priority AND c.owner = ''), 1)
)
RETURNING turn;

-- The present is the turn of the job that was claimed last.
-- name: pass_turns!
INSERT INTO lanes (type, priority, owner, turn)
SELECT type, priority, '', max(turn) FROM jobs WHERE id IN (SELECT value FROM json_each(:ids))
GROUP BY type, priority
ON CONFLICT (type, priority, owner) DO UPDATE SET turn = excluded.turn
WHERE excluded.turn > lanes.turn;

-- A lane behind the present says nothing that an absent one does not.
-- name: delete_idle_lanes
DELETE FROM lanes
WHERE owner <> '' AND turn < (SELECT c.turn FROM lanes c WHERE c.type = lanes.type
                              AND c.priority = lanes.priority AND c.owner = '')
RETURNING owner;
