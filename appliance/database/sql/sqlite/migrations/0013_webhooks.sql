-- Who is told of the end of jobs, and what is to be sent.

-- An endpoint of an owner. Its secret signs, so it is kept as it is.
CREATE TABLE webhooks (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL,
    url TEXT NOT NULL,
    events TEXT NOT NULL,                       -- JSON: list of Event
    description TEXT NOT NULL,
    active INTEGER NOT NULL CHECK (active IN (0, 1)),
    secret TEXT NOT NULL,
    old_secret TEXT,                            -- signs too, until then
    old_until REAL,
    created_at REAL NOT NULL,
    failing_since REAL,                         -- every try since then has failed
    disabled_at REAL,                           -- by the appliance
    disabled_reason TEXT,
    CHECK ((old_secret IS NULL) = (old_until IS NULL)),
    CHECK ((disabled_at IS NULL) = (disabled_reason IS NULL)),
    CHECK (NOT (active AND disabled_at IS NOT NULL))
) STRICT;

-- Every job that is settled looks here.
CREATE INDEX webhooks_active ON webhooks (owner) WHERE active = 1;
CREATE INDEX webhooks_by_owner ON webhooks (owner, id);
CREATE INDEX webhooks_disabled ON webhooks (disabled_at) WHERE disabled_at IS NOT NULL;

-- What signs deliveries to the `callbackUrl` of uploads, by owner.
CREATE TABLE callback_secrets (
    owner TEXT PRIMARY KEY,
    secret TEXT NOT NULL,
    old_secret TEXT,
    old_until REAL,
    CHECK ((old_secret IS NULL) = (old_until IS NULL))
) STRICT, WITHOUT ROWID;

ALTER TABLE jobs ADD COLUMN callback_url TEXT;

-- The outbox, written in the transaction that settles the job. `lane` is whose turn it is one of:
-- an endpoint, or the host of a callback; a slow one holds up no other.
CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,
    webhook_id TEXT REFERENCES webhooks (id) ON DELETE CASCADE,
    url TEXT,                                   -- of a callback
    owner TEXT NOT NULL,
    job_id TEXT,                                -- may have been deleted since
    event TEXT NOT NULL,
    payload TEXT NOT NULL,                      -- the body, to the byte
    lane TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('pending', 'delivered', 'failed')),
    attempt INTEGER NOT NULL DEFAULT 0,         -- fencing token: grows with every try
    tries INTEGER NOT NULL DEFAULT 0,           -- since it was made, or replayed
    created_at REAL NOT NULL,
    due_at REAL,                                -- while it is tried: when the try counts as lost
    ended_at REAL,
    CHECK ((webhook_id IS NULL) = (url IS NOT NULL)),
    CHECK ((state = 'pending') = (due_at IS NOT NULL)),
    CHECK ((state = 'pending') = (ended_at IS NULL))
) STRICT;

CREATE INDEX deliveries_pending ON deliveries (lane, due_at, id) WHERE state = 'pending';
CREATE INDEX deliveries_failed ON deliveries (owner, ended_at) WHERE state = 'failed';
CREATE INDEX deliveries_ended ON deliveries (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX deliveries_by_owner ON deliveries (owner, id);
CREATE INDEX deliveries_by_webhook ON deliveries (webhook_id, id);
CREATE INDEX deliveries_by_job ON deliveries (job_id, id);

CREATE TABLE delivery_tries (
    delivery_id TEXT NOT NULL REFERENCES deliveries (id) ON DELETE CASCADE,
    number INTEGER NOT NULL,
    at REAL NOT NULL,
    took_s REAL NOT NULL,
    status INTEGER,
    answer TEXT,                                -- how it begins
    fault TEXT,
    PRIMARY KEY (delivery_id, number)
) STRICT, WITHOUT ROWID
