-- File names can be searched by any part of three characters and more, in either case.

-- The index has no text of its own: to take a name out of it, the same name is given again, under
-- the same number. `uploads` has no number that survives a VACUUM, hence this table.
CREATE TABLE upload_numbers (
    number INTEGER PRIMARY KEY,
    upload_id TEXT NOT NULL UNIQUE
) STRICT;

CREATE VIRTUAL TABLE upload_names USING fts5(filename, content='', tokenize='trigram', detail=full);

INSERT INTO upload_numbers (upload_id) SELECT id FROM uploads ORDER BY received_at, id;
INSERT INTO upload_names (rowid, filename)
SELECT n.number, u.filename FROM upload_numbers n JOIN uploads u ON u.id = n.upload_id;

CREATE TRIGGER upload_named AFTER INSERT ON uploads BEGIN
    INSERT INTO upload_numbers (upload_id) VALUES (NEW.id);
    INSERT INTO upload_names (rowid, filename)
    SELECT number, NEW.filename FROM upload_numbers WHERE upload_id = NEW.id;
END;

CREATE TRIGGER upload_name_gone AFTER DELETE ON uploads BEGIN
    INSERT INTO upload_names (upload_names, rowid, filename)
    SELECT 'delete', number, OLD.filename FROM upload_numbers WHERE upload_id = OLD.id;
    DELETE FROM upload_numbers WHERE upload_id = OLD.id;
END
