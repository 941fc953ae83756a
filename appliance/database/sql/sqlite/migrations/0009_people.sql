-- People who sign in at an OpenID provider; their sessions beside those of keys.

CREATE TABLE people (
    id TEXT PRIMARY KEY,
    owner TEXT NOT NULL UNIQUE,                 -- jwt:<issuer>:<sub>
    name TEXT NOT NULL,
    email TEXT,
    role TEXT NOT NULL CHECK (role IN ('user', 'viewer', 'operator', 'admin')),
    first_seen_at REAL NOT NULL,
    signed_in_at REAL NOT NULL,                 -- the last time; name and role are from then
    blocked_at REAL
) STRICT;

ALTER TABLE sessions RENAME TO old_sessions;
DROP INDEX sessions_of_key;

CREATE TABLE sessions (
    id TEXT PRIMARY KEY,                        -- what people name it by
    token_hash TEXT NOT NULL UNIQUE,
    owner TEXT NOT NULL,                        -- whose, as jobs have it
    key_id TEXT REFERENCES api_keys (id),       -- begun with a key,
    person_id TEXT REFERENCES people (id),      -- or at the provider
    created_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    last_used_at REAL,                          -- to within a minute
    address TEXT,                               -- that it was begun from
    agent TEXT,                                 -- the browser, as it calls itself
    CHECK ((key_id IS NULL) <> (person_id IS NULL))
) STRICT;

CREATE INDEX sessions_of_owner ON sessions (owner);

INSERT INTO sessions (id, token_hash, owner, key_id, created_at, expires_at, last_used_at, address,
                      agent)
SELECT id, token_hash, 'key:' || key_id, key_id, created_at, expires_at, last_used_at, address, agent
FROM old_sessions;
DROP TABLE old_sessions
