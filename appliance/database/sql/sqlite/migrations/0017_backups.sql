-- Backups that were taken or tried by this appliance, and whether they were proven.
CREATE TABLE backups (
    began_at REAL PRIMARY KEY,
    ended_at REAL,
    place TEXT NOT NULL,
    snapshot TEXT,                  -- NULL until it is there
    files INTEGER NOT NULL DEFAULT 0,
    size_bytes INTEGER NOT NULL DEFAULT 0,
    new_bytes INTEGER NOT NULL DEFAULT 0,
    lacking INTEGER NOT NULL DEFAULT 0,     -- files that were missing or damaged in the store
    error TEXT,
    proven_at REAL,
    faults TEXT                     -- what the proof found; NULL: nothing, or there was none yet
) STRICT;
