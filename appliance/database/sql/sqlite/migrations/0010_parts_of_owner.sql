-- Complete parts count towards their owner's quota until they are joined.
CREATE INDEX resumable_uploads_parts_of_owner ON resumable_uploads (owner)
    WHERE state = 'completed' AND kind = 'partial'
