-- A redrive stops by itself, or because somebody stops it.

ALTER TABLE redrives ADD COLUMN stopped_by TEXT;    -- NULL: by itself, or it did not stop

-- What was done to one job, for its page.
CREATE INDEX audit_of_subject ON audit (subject, id);
