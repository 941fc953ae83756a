-- Every process has a row, also one that serves HTTP and works on no jobs, and tells what it is.
ALTER TABLE workers ADD COLUMN kind TEXT NOT NULL DEFAULT 'both'
    CHECK (kind IN ('api', 'worker', 'both'));
ALTER TABLE workers ADD COLUMN host TEXT NOT NULL DEFAULT '';
ALTER TABLE workers ADD COLUMN pid INTEGER NOT NULL DEFAULT 0;
ALTER TABLE workers ADD COLUMN version TEXT NOT NULL DEFAULT '';

-- When somebody found that it beats no more. It is shown for a while, and counts for nothing.
ALTER TABLE workers ADD COLUMN gone_at REAL;
