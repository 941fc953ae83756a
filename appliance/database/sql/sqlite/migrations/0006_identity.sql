-- Four roles, scopes, expiry and last use of keys; sessions that can be listed and ended.

-- What refers to api_keys is taken out of the way first: a CHECK cannot be changed in place.
CREATE TABLE old_sessions AS SELECT * FROM sessions;
CREATE TABLE old_signin_links AS SELECT * FROM signin_links;
DROP TABLE sessions;
DROP TABLE signin_links;
ALTER TABLE api_keys RENAME TO old_api_keys;

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL,
    role TEXT NOT NULL CHECK (role IN ('user', 'viewer', 'operator', 'admin')),
    scopes TEXT NOT NULL,                       -- JSON: list of Scope
    prefix TEXT NOT NULL,                       -- what a person recognises the key by
    secret_hash TEXT NOT NULL UNIQUE,           -- SHA-256; the key itself has 160 random bits
    created_at REAL NOT NULL,
    expires_at REAL,
    revoked_at REAL,
    last_used_at REAL                           -- to within a minute
) STRICT;

INSERT INTO api_keys
SELECT id, name, role, '["upload","read","manage","admin"]', prefix, secret_hash, created_at,
       expires_at, revoked_at, NULL
FROM old_api_keys;
DROP TABLE old_api_keys;

-- A browser's sign-in; the cookie holds the token, the table its hash.
CREATE TABLE sessions (
    id TEXT PRIMARY KEY,                        -- what people name it by
    token_hash TEXT NOT NULL UNIQUE,
    key_id TEXT NOT NULL REFERENCES api_keys (id),
    created_at REAL NOT NULL,
    expires_at REAL NOT NULL,
    last_used_at REAL,                          -- to within a minute
    address TEXT,                               -- that it was begun from
    agent TEXT                                  -- the browser, as it calls itself
) STRICT;

CREATE INDEX sessions_of_key ON sessions (key_id);

-- Ids are ULIDs elsewhere; these few have no time in theirs.
INSERT INTO sessions (id, token_hash, key_id, created_at, expires_at)
SELECT '0' || substr(hex(randomblob(13)), 2), token_hash, key_id, created_at, expires_at
FROM old_sessions;
DROP TABLE old_sessions;

CREATE TABLE signin_links (
    token_hash TEXT PRIMARY KEY,
    key_id TEXT NOT NULL REFERENCES api_keys (id),
    expires_at REAL NOT NULL,
    used_at REAL
) STRICT;

INSERT INTO signin_links SELECT token_hash, key_id, expires_at, used_at FROM old_signin_links;
DROP TABLE old_signin_links
