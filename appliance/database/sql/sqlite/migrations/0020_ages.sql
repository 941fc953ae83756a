-- How long the finished jobs of an owner are kept, where that is not what it is for others.
CREATE TABLE owner_ages (
    owner TEXT PRIMARY KEY,
    days INTEGER NOT NULL CHECK (days >= 0)     -- 0: for ever
) STRICT, WITHOUT ROWID;

CREATE INDEX jobs_finished_of_owner ON jobs (owner, finished_at) WHERE finished_at IS NOT NULL;
CREATE INDEX jobs_finished_of_preset ON jobs (preset, finished_at) WHERE finished_at IS NOT NULL;
