-- What the store said of a file that could not be read; NULL: it was read, and is not what was stored.
ALTER TABLE damaged_files ADD COLUMN unreadable TEXT COLLATE "C";
