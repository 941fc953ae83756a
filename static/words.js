// What the pages say about a file or a job, in plain words. No DOM, no network.
// templates/card.html and appliance/web/words.py say the same; change them together.

const UNITS = ["bytes", "KB", "MB", "GB", "TB"];

/** 5242880 → "5.2 MB". */
export function bytes(n) {
  let unit = 0;
  while (n >= 1000 && unit < UNITS.length - 1) { n /= 1000; unit += 1; }
  return `${unit === 0 || n >= 100 ? Math.round(n) : n.toFixed(1)} ${UNITS[unit]}`;
}

/** 95 → "1 m 35 s"; the two largest units. */
export function duration(s) {
  if (s < 1) return `${Math.round(s * 1000)} ms`;
  if (s < 10) return `${s.toFixed(1)} s`;
  let whole = Math.round(s);
  const parts = [];
  for (const [unit, length] of [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]]) {
    if (whole >= length) parts.push(`${Math.floor(whole / length)} ${unit}`);
    whole %= length;
  }
  return parts.slice(0, 2).join(" ");
}

/** Seconds left, rounded so that the words do not flicker: 43 → "about 45 s". */
export function roughly(s) {
  if (s < 3) return "a moment";
  if (s < 60) return `about ${s < 20 ? Math.round(s) : Math.round(s / 5) * 5} s`;
  if (s < 3600) return `about ${Math.round(s / 60)} min`;
  return `about ${(s / 3600).toFixed(1)} h`;
}

/** A time as people say it, from epoch milliseconds. */
export function ago(then, now = Date.now()) {
  const s = (now - then) / 1000;
  if (s < 5) return "just now";
  if (s < 60) return `${Math.floor(s)} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ago`;
  if (s < 7 * 86400) return `${Math.floor(s / 86400)} d ago`;
  return new Date(then).toLocaleDateString(undefined, { year: "numeric", month: "short", day: "numeric" });
}

/**
 * The two halves of a name for middle truncation: the end stays when there is no room.
 * Cut between words where it can be: joined scripts change shape at a cut.
 */
export function halves(name) {
  const points = Array.from(name.replace(/[\u202d\u202e]/g, "\ufffd")); // no "gpj.exe" turned round
  const n = points.length;
  const word = points.slice(0, n - 8).findLastIndex((c, i) => i >= n - 20 && " _-".includes(c));
  const cut = n <= 28 ? n : word >= 0 ? word + 1 : n - 14;
  return [points.slice(0, cut).join(""), points.slice(cut).join("")];
}

export const isFinal = (status) => ["COMPLETED", "FAILED", "CANCELLED"].includes(status);

/** Which worker would take a file that is not at the server yet. */
export function guessType(contentType) {
  if (contentType.startsWith("image/")) return "IMAGE";
  if (contentType.startsWith("video/")) return "VIDEO";
  return contentType === "application/pdf" ? "PDF" : "ANY";
}

const SIGNALS = {
  PENDING: ["idle", "idle"], PROCESSING: ["going", "going"], RETRYING: ["going", "retry"],
  COMPLETED: ["done", "done"], FAILED: ["needs", "needs"], CANCELLED: ["idle", "stopped"],
};

/** The signal and the icon of a job's status. */
export const signalOf = (status) => SIGNALS[status] ?? ["idle", "idle"];

/** "Trying again in 4 s (attempt 2 of 4)". */
export function waiting(untilMs, attempt, max, now = Date.now()) {
  const s = Math.ceil((untilMs - now) / 1000);
  return `Trying again ${s > 0 ? `in ${s < 60 ? `${s} s` : duration(s)}` : "now"} (attempt ${attempt + 1} of ${max})`;
}

/** What is happening to the job now. */
export function jobSays(job) {
  switch (job.status) {
    case "PENDING": return "In the queue";
    case "PROCESSING": {
      const step = job.step || "processing";
      return `${step[0].toUpperCase()}${step.slice(1)}, ${Math.floor((job.progress || 0) * 100)}%`;
    }
    case "RETRYING": return waiting(Date.parse(job.nextAttemptAt ?? "") || 0, job.attempt ?? 0, job.maxAttempts);
    case "COMPLETED": return job.filesLeft === "results" ? "Done; its original was deleted by its age" : "Done";
    case "FAILED": return job.error?.message || "This file could not be processed.";
    case "CANCELLED": return "Cancelled";
    default: return job.status;
  }
}

const ACTIVE = {
  javascript: "scripts", macros: "macros", activex: "ActiveX controls", objects: "embedded objects",
  attachments: "attachments", launch: "program starts", submit: "forms that send data",
  import: "imports of data", remote: "links into other files", media: "media", xfa: "a dynamic form",
};

/** "holds scripts, attachments": what was found in a file that runs; empty if nothing was. */
function holds(found) {
  const known = Object.keys(ACTIVE).filter((kind) => Array.isArray(found) && found.includes(kind));
  return known.length ? `holds ${known.map((kind) => ACTIVE[kind]).join(", ")}` : "";
}

/** Size and what was found in the file. */
export function jobFacts(job) {
  const { width, height, pageCount, durationS, activeContent } = job.result ?? {};
  const facts = [bytes(job.sizeBytes)];
  if (width && height) facts.push(`${width} × ${height}`);
  if (pageCount) facts.push(pageCount === 1 ? "1 page" : `${pageCount} pages`);
  if (durationS) facts.push(duration(durationS));
  if (holds(activeContent)) facts.push(holds(activeContent));
  return facts.join(" · ");
}

/** The small picture, and what opens large: a job's best result of each kind, or undefined. */
export function picksOf(job) {
  const files = job.files ?? [];
  const images = files.filter((f) => f.contentType.startsWith("image/"));
  const video = files.find((f) => f.contentType.startsWith("video/"));
  const thumb = images.find((f) => f.name.startsWith("thumbnail")) ?? images[0];
  const picture = job.type === "IMAGE"
    ? images.reduce((best, f) => ((f.width ?? 0) > (best?.width ?? -1) ? f : best), undefined)
    : images.find((f) => !f.name.startsWith("thumbnail")) ?? images[0];
  return { thumb, video, opens: video ?? picture };
}

/** The state to show: one that tries again is still lost until somebody has answered. */
export const shownState = ({ state, tries, pace }) => (state === "uploading" && tries > 0 && !pace ? "lost" : state);

/** How an upload is going: "Uploading 43%, 12 MB/s, about 20 s left". */
export function uploadSays(item) {
  const { file, note, sent } = item;
  const kept = note.address && sent ? `, ${bytes(sent)} kept` : "";
  switch (shownState(item)) {
    case "waiting": return `Waiting for its turn${kept}`;
    case "uploading": {
      if (sent >= file.size) return "Uploaded, being checked and stored";
      const parts = [`Uploading ${Math.floor((sent / file.size) * 100)}%`];
      const rate = item.pace?.rate ?? 0;
      if (rate >= 1) parts.push(`${bytes(rate)}/s`, `${roughly((file.size - sent) / rate)} left`);
      return parts.join(", ");
    }
    case "paused": return `Paused${kept}`;
    case "lost": return `Waiting for the ${navigator.onLine ? "server" : "network"}${kept}`;
    case "held": return `${item.problem.says} Trying again${kept}.`;
    case "signedout": return `Your session has ended${kept}. Sign in to go on.`;
    case "cancelled": return "Cancelled";
    default: return item.problem?.says ?? "";
  }
}
