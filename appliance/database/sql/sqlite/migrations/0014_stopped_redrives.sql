-- A redrive stops by itself, or because somebody stops it.

ALTER TABLE redrives ADD COLUMN stopped_by TEXT;    -- NULL: by itself, or it did not stop
