-- Fair turns, pauses, dead-letter review, audit, and counts that do not grow with the table.

-- The order within a type and a priority: owners take turns. `turn` is given when a job becomes
-- PENDING, from its owner's lane (docs/decisions/0012-owners-take-turns.md).
ALTER TABLE jobs ADD COLUMN turn INTEGER NOT NULL DEFAULT 0;
ALTER TABLE jobs ADD COLUMN large INTEGER NOT NULL DEFAULT 0 CHECK (large IN (0, 1));
ALTER TABLE jobs ADD COLUMN waits_since REAL;                        -- when RETRYING began
ALTER TABLE jobs ADD COLUMN spent_attempts INTEGER NOT NULL DEFAULT 0;  -- before the last redrive

-- The last turn given to an owner; the row of the owner '' says whose turn it is now.
CREATE TABLE lanes (
    type TEXT NOT NULL,
    priority INTEGER NOT NULL,
    owner TEXT NOT NULL,
    turn INTEGER NOT NULL,
    PRIMARY KEY (type, priority, owner)
) STRICT, WITHOUT ROWID;

DROP INDEX jobs_ready;
CREATE INDEX jobs_ready ON jobs (type, large, priority DESC, turn, id) WHERE status = 'PENDING';
CREATE INDEX jobs_ready_of_owner ON jobs (type, owner, priority DESC, turn, id)
    WHERE status = 'PENDING';
CREATE INDEX jobs_waiting ON jobs (type, id) WHERE status = 'PENDING';
DROP INDEX jobs_due;
CREATE INDEX jobs_due ON jobs (next_attempt_at) WHERE status = 'RETRYING';
CREATE INDEX jobs_waits ON jobs (waits_since) WHERE status = 'RETRYING';
DROP INDEX jobs_created;
CREATE INDEX jobs_by_type ON jobs (type, id);

-- What an admin has stopped, for whom, why and until when.
CREATE TABLE pauses (
    kind TEXT NOT NULL CHECK (kind IN ('type', 'owner')),
    name TEXT NOT NULL,
    reason TEXT NOT NULL,
    actor TEXT NOT NULL,
    since REAL NOT NULL,
    until REAL,                                 -- NULL: until somebody resumes it
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- Every administrative act: who, when, what, how many.
CREATE TABLE audit (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    actor TEXT NOT NULL,
    action TEXT NOT NULL,
    subject TEXT NOT NULL,
    detail TEXT NOT NULL,                       -- JSON
    jobs INTEGER                                -- how many it touched
) STRICT;

-- How many jobs there are of each type in each state. Kept by the triggers below.
CREATE TABLE tallies (
    type TEXT NOT NULL,
    status TEXT NOT NULL,
    jobs INTEGER NOT NULL,
    PRIMARY KEY (type, status)
) STRICT, WITHOUT ROWID;

INSERT INTO tallies (type, status, jobs)
SELECT t.column1, s.column1,
       (SELECT count(*) FROM jobs WHERE type = t.column1 AND status = s.column1)
FROM (VALUES ('IMAGE'), ('PDF'), ('VIDEO'), ('ANY')) t,
     (VALUES ('PENDING'), ('PROCESSING'), ('RETRYING'), ('COMPLETED'), ('FAILED'), ('CANCELLED')) s;

-- What happened in each minute, for charts. `queued` and `active` are sampled, the others counted.
CREATE TABLE minutes (
    minute INTEGER NOT NULL,                    -- since the epoch
    type TEXT NOT NULL,
    received INTEGER NOT NULL DEFAULT 0,
    completed INTEGER NOT NULL DEFAULT 0,
    failed INTEGER NOT NULL DEFAULT 0,
    busy_s REAL NOT NULL DEFAULT 0,             -- of the attempts that completed
    queued INTEGER,
    active INTEGER,
    PRIMARY KEY (minute, type)
) STRICT, WITHOUT ROWID;

INSERT INTO minutes (minute, type, received)
SELECT CAST(created_at / 60 AS INTEGER), type, count(*) FROM jobs
WHERE created_at > (SELECT max(created_at) FROM jobs) - 3600 GROUP BY 1, 2;
INSERT INTO minutes (minute, type, completed, failed, busy_s)
SELECT CAST(finished_at / 60 AS INTEGER), type, sum(status = 'COMPLETED'), sum(status = 'FAILED'),
       total(CASE WHEN status = 'COMPLETED' THEN finished_at - started_at END)
FROM jobs WHERE finished_at > (SELECT max(finished_at) FROM jobs) - 3600 GROUP BY 1, 2
ON CONFLICT DO UPDATE SET completed = excluded.completed, failed = excluded.failed,
                          busy_s = excluded.busy_s;

CREATE TRIGGER job_received AFTER INSERT ON jobs BEGIN
    UPDATE tallies SET jobs = jobs + 1 WHERE type = NEW.type AND status = NEW.status;
    INSERT INTO minutes (minute, type, received)
    VALUES (CAST(NEW.created_at / 60 AS INTEGER), NEW.type, 1)
    ON CONFLICT DO UPDATE SET received = received + 1;
END;

CREATE TRIGGER job_moved AFTER UPDATE OF status ON jobs WHEN OLD.status <> NEW.status BEGIN
    UPDATE tallies SET jobs = jobs - 1 WHERE type = NEW.type AND status = OLD.status;
    UPDATE tallies SET jobs = jobs + 1 WHERE type = NEW.type AND status = NEW.status;
END;

CREATE TRIGGER job_finished AFTER UPDATE OF status ON jobs
WHEN NEW.status IN ('COMPLETED', 'FAILED') AND OLD.status <> NEW.status BEGIN
    INSERT INTO minutes (minute, type, completed, failed, busy_s)
    VALUES (CAST(NEW.finished_at / 60 AS INTEGER), NEW.type, NEW.status = 'COMPLETED',
            NEW.status = 'FAILED',
            iif(NEW.status = 'COMPLETED', NEW.finished_at - NEW.started_at, 0.0))
    ON CONFLICT DO UPDATE SET completed = completed + excluded.completed,
        failed = failed + excluded.failed, busy_s = busy_s + excluded.busy_s;
END;

CREATE TRIGGER job_deleted AFTER DELETE ON jobs BEGIN
    UPDATE tallies SET jobs = jobs - 1 WHERE type = OLD.type AND status = OLD.status;
END;

-- Dead letters, in groups of those that failed alike.
ALTER TABLE dead_letters ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE dead_letters ADD COLUMN type TEXT NOT NULL DEFAULT '';
ALTER TABLE dead_letters ADD COLUMN error_class TEXT NOT NULL DEFAULT '';
ALTER TABLE dead_letters ADD COLUMN step TEXT NOT NULL DEFAULT '';
ALTER TABLE dead_letters ADD COLUMN notified_at REAL;   -- when the operators were told
UPDATE dead_letters SET
    owner = (SELECT owner FROM jobs WHERE id = job_id),
    type = (SELECT type FROM jobs WHERE id = job_id),
    error_class = coalesce((SELECT error_class FROM attempts a WHERE a.job_id = dead_letters.job_id
                            ORDER BY number DESC LIMIT 1), ''),
    step = coalesce((SELECT json_extract(error, '$.step') FROM jobs WHERE id = job_id), ''),
    notified_at = created_at;

CREATE INDEX dead_letters_untold ON dead_letters (created_at) WHERE notified_at IS NULL;
CREATE INDEX dead_letters_by_owner ON dead_letters (owner, job_id);

CREATE TABLE dead_letter_groups (
    fingerprint TEXT PRIMARY KEY,
    type TEXT NOT NULL,
    error_code TEXT NOT NULL,
    error_class TEXT NOT NULL,
    step TEXT NOT NULL,
    message TEXT NOT NULL,                      -- of the latest
    jobs INTEGER NOT NULL,
    first_at REAL NOT NULL,
    last_at REAL NOT NULL
) STRICT, WITHOUT ROWID;

INSERT INTO dead_letter_groups
SELECT fingerprint, type, error_code, error_class, step, message, count(*), min(created_at),
       max(created_at)
FROM dead_letters GROUP BY fingerprint;

CREATE TRIGGER dead_letter_kept AFTER INSERT ON dead_letters BEGIN
    INSERT INTO dead_letter_groups
    VALUES (NEW.fingerprint, NEW.type, NEW.error_code, NEW.error_class, NEW.step, NEW.message, 1,
            NEW.created_at, NEW.created_at)
    ON CONFLICT DO UPDATE SET jobs = jobs + 1, message = excluded.message,
        last_at = max(last_at, excluded.last_at);
END;

CREATE TRIGGER dead_letter_gone AFTER DELETE ON dead_letters BEGIN
    UPDATE dead_letter_groups SET jobs = jobs - 1 WHERE fingerprint = OLD.fingerprint;
    DELETE FROM dead_letter_groups WHERE fingerprint = OLD.fingerprint AND jobs = 0;
END;

-- Trying dead letters again, in waves: a few first, more when those went well.
CREATE TABLE redrives (
    id TEXT PRIMARY KEY,
    actor TEXT NOT NULL,
    created_at REAL NOT NULL,
    ended_at REAL,
    state TEXT NOT NULL CHECK (state IN ('running', 'completed', 'stopped')),
    staged INTEGER NOT NULL CHECK (staged IN (0, 1)),   -- 0: all in one wave
    wave INTEGER NOT NULL DEFAULT 0,            -- of those begun so far, counted from 1
    filter TEXT NOT NULL,                       -- JSON
    CHECK ((state = 'running') = (ended_at IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX redrives_running ON redrives (id) WHERE state = 'running';

CREATE TABLE redrive_jobs (
    redrive_id TEXT NOT NULL REFERENCES redrives (id),
    job_id TEXT NOT NULL,                       -- may have been deleted since
    wave INTEGER,                               -- NULL: its wave has not begun
    outcome TEXT CHECK (outcome IN ('completed', 'failed', 'cancelled', 'gone')),
    PRIMARY KEY (redrive_id, job_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX redrive_jobs_by_job ON redrive_jobs (job_id);
CREATE INDEX redrive_jobs_open ON redrive_jobs (redrive_id, wave) WHERE outcome IS NULL;

ALTER TABLE workers ADD COLUMN pools TEXT NOT NULL DEFAULT '[]';    -- JSON: list of PoolState

ALTER TABLE uploads ADD COLUMN missing_since REAL;      -- its file is not where it should be
CREATE INDEX uploads_missing ON uploads (id) WHERE missing_since IS NOT NULL
