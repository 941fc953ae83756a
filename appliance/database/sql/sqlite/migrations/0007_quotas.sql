-- A key may have a quota of its own, in the place of the general one.
ALTER TABLE api_keys ADD COLUMN quota_bytes INTEGER CHECK (quota_bytes > 0);

-- Complete parts count towards their owner's quota until they are joined.
CREATE INDEX resumable_uploads_parts_of_owner ON resumable_uploads (owner)
    WHERE state = 'completed' AND kind = 'partial'
