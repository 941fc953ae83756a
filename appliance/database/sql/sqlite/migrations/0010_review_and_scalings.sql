-- A redrive stops by itself, or because somebody stops it.

ALTER TABLE redrives ADD COLUMN stopped_by TEXT;    -- NULL: by itself, or it did not stop

-- What the form that began it carries, so that one that is sent twice begins one redrive.
ALTER TABLE redrives ADD COLUMN once TEXT;
CREATE UNIQUE INDEX redrives_once ON redrives (actor, once) WHERE once IS NOT NULL;

-- What was done to one job, for its page.
CREATE INDEX audit_of_subject ON audit (subject, id);

-- Each time that a pool became larger or smaller, and why; the latest of each type are kept.
CREATE TABLE scalings (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at REAL NOT NULL,
    type TEXT NOT NULL,
    node TEXT NOT NULL,
    workers_before INTEGER NOT NULL,
    workers_after INTEGER NOT NULL,
    reason TEXT NOT NULL
) STRICT;

CREATE INDEX scalings_of_type ON scalings (type, id);
