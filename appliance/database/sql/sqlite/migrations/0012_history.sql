-- How long work took and how many bytes came in each minute, for charts.

ALTER TABLE minutes ADD COLUMN received_bytes INTEGER NOT NULL DEFAULT 0;
ALTER TABLE minutes ADD COLUMN oldest_s REAL;   -- sampled: for how long the oldest PENDING job waits

-- The upper bounds of the buckets in which durations are counted: 10 ms, and each 1.2 times the one
-- before, to more than a day.
CREATE TABLE duration_bounds (upto_s REAL PRIMARY KEY) STRICT, WITHOUT ROWID;
INSERT INTO duration_bounds
WITH RECURSIVE bounds (upto_s, number) AS (
    SELECT 0.01, 0 UNION ALL SELECT upto_s * 1.2, number + 1 FROM bounds WHERE number < 88
)
SELECT upto_s FROM bounds;

CREATE TABLE minute_durations (
    minute INTEGER NOT NULL,                    -- since the epoch
    type TEXT NOT NULL,
    upto_s REAL NOT NULL,                       -- one of duration_bounds
    jobs INTEGER NOT NULL,                      -- that completed after no more, and more than the bound before
    PRIMARY KEY (minute, type, upto_s)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER job_timed AFTER UPDATE OF status ON jobs
WHEN NEW.status = 'COMPLETED' AND OLD.status <> NEW.status BEGIN
    INSERT INTO minute_durations (minute, type, upto_s, jobs)
    VALUES (CAST(NEW.finished_at / 60 AS INTEGER), NEW.type,
            coalesce((SELECT min(upto_s) FROM duration_bounds
                      WHERE upto_s >= NEW.finished_at - NEW.started_at),
                     (SELECT max(upto_s) FROM duration_bounds)),
            1)
    ON CONFLICT DO UPDATE SET jobs = jobs + 1;
END;

-- As before, and its bytes. Another job on an upload that has one brings none.
DROP TRIGGER job_received;
CREATE TRIGGER job_received AFTER INSERT ON jobs BEGIN
    UPDATE tallies SET jobs = jobs + 1 WHERE type = NEW.type AND status = NEW.status;
    INSERT INTO minutes (minute, type, received, received_bytes)
    VALUES (CAST(NEW.created_at / 60 AS INTEGER), NEW.type, 1,
            iif(EXISTS (SELECT 1 FROM jobs WHERE upload_id = NEW.upload_id AND id <> NEW.id), 0,
                (SELECT size_bytes FROM uploads WHERE id = NEW.upload_id)))
    ON CONFLICT DO UPDATE SET received = received + 1,
        received_bytes = received_bytes + excluded.received_bytes;
END;
