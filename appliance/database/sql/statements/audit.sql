-- Administrative acts.

-- name: add_audit!
INSERT INTO audit (at, actor, action, subject, detail, jobs)
VALUES (:at, :actor, :action, :subject, :detail, :jobs);

-- name: audit_page
SELECT * FROM audit
WHERE id < :before
  AND (actor = :actor OR :actor IS NULL)
  AND (action = :action OR :action IS NULL)
  AND (subject = :subject OR :subject IS NULL)
  AND (at >= :since OR :since IS NULL)
  AND (at < :until OR :until IS NULL)
ORDER BY id DESC LIMIT :limit;

-- name: audit_of_subject
SELECT * FROM audit WHERE subject = :subject ORDER BY id DESC LIMIT :limit;
