-- Which version of its preset made a job's results. NULL: it has none, or they are older than this.
ALTER TABLE jobs ADD COLUMN preset_version INTEGER CHECK (preset_version >= 1)
