-- As SQLite's of the same number.
ALTER TABLE damaged_files ADD COLUMN unreadable TEXT COLLATE "C";
