-- Administrative acts.

-- name: add_audit!
INSERT INTO audit (at, actor, action, subject, detail, jobs)
VALUES (:at, :actor, :action, :subject, :detail, :jobs);

-- name: audit_page
SELECT * FROM audit WHERE id < :before ORDER BY id DESC LIMIT :limit;

-- name: audit_of_subject
SELECT * FROM audit WHERE subject = :subject ORDER BY id DESC LIMIT :limit;
