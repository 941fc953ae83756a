-- Administrative acts.

-- name: add_audit!
INSERT INTO audit (at, actor, action, subject, detail, jobs)
VALUES (:at, :actor, :action, :subject, :detail, :jobs);

-- name: audit_page
SELECT * FROM audit
WHERE id < :before
  AND (:actor IS NULL OR actor = :actor)
  AND (:action IS NULL OR action = :action)
  AND (:subject IS NULL OR subject = :subject)
  AND (:since IS NULL OR at >= :since)
  AND (:until IS NULL OR at < :until)
ORDER BY id DESC LIMIT :limit;
