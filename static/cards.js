// Makes the cards and keeps them true. A card is the element of templates/card.html, whether
// the server or this script made it; names and messages go in as text, never as markup.

import { bytes, guessType, halves, isFinal, jobFacts, jobSays, picksOf, shownState, signalOf, uploadSays, waiting } from "./words.js";
import { setOpens, showPicture, showPreview } from "./pictures.js";
import { localise } from "./times.js";

const template = document.getElementById("card-template");
const fileTemplate = document.getElementById("file-template");

const UPLOAD_SIGNALS = {
  uploading: ["going", "upload"], paused: ["idle", "pause"], signedout: ["needs", "needs"],
  refused: ["needs", "needs"], failed: ["needs", "needs"], cancelled: ["idle", "stopped"],
};
const ACTS_AFTER = { signedout: ["signin", "resume"], refused: [], failed: ["retry"], cancelled: ["retry"] };

export function makeCard() {
  return template.content.firstElementChild.cloneNode(true);
}

const part = (card, selector) => card.querySelector(selector);

/** Writes only what differs, so that a screen reader and the selection are left in peace. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

export function setName(nameElement, name) {
  const [head, tail] = halves(name);
  write(nameElement.firstElementChild, head);
  write(nameElement.lastElementChild, tail);
  nameElement.title = name;
}

function setIcon(svg, glyph) {
  const use = svg.firstElementChild;
  const href = `${use.getAttribute("href").split("#")[0]}#${glyph}`;
  if (use.getAttribute("href") !== href) use.setAttribute("href", href);
}

function setTrack(card, { upload, scan, work, told }) {
  const track = part(card, ".track");
  const [up, scanned, worked] = track.children;
  up.value = upload;
  scanned.value = scan;
  worked.value = work;
  track.setAttribute("aria-valuenow", Math.round((upload * 5 + scan + work * 6) / 0.12));
  track.setAttribute("aria-valuetext", told);
}

function setSays(card, [signal, glyph], text) {
  card.dataset.signal = signal;
  setIcon(part(card, ".mark"), glyph);
  write(part(card, ".says-text"), text);
}

/** Which of the foot's two faces shows: the track, or the actions named in `acts`. */
function setFoot(card, acts) {
  part(card, ".track").hidden = acts !== null;
  part(card, ".acts").hidden = acts === null;
  for (const act of card.querySelectorAll(".acts [data-act]")) act.hidden = !acts?.includes(act.dataset.act);
}

/** Shows a file on its way to the server. */
export function showUpload(card, item) {
  const { file } = item;
  const state = shownState(item);
  if (!card.dataset.type || card.dataset.seen === undefined) {
    card.dataset.seen = "";
    card.dataset.type = guessType(file.type);
    setIcon(part(card, ".picture-icon"), card.dataset.type.toLowerCase());
    setName(part(card, ".name"), file.name);
    part(card, ".card-in").setAttribute("aria-label", file.name);
    write(part(card, ".facts-text"), bytes(file.size));
    showPreview(card, file);
  }
  const told = uploadSays(item);
  setPick(card, null);
  card.dataset.status = { refused: "FAILED", failed: "FAILED", cancelled: "CANCELLED" }[state] ?? "";
  setSays(card, UPLOAD_SIGNALS[state] ?? ["idle", "idle"], told);
  setTrack(card, { upload: file.size ? item.sent / file.size : 0, scan: 0, work: 0, told });
  const stopped = state in ACTS_AFTER;
  setFoot(card, stopped ? ACTS_AFTER[state] : null);
  const isAllSent = state === "uploading" && item.sent >= file.size;
  setSide(card, { pause: !stopped && !isAllSent, cancel: !stopped || state === "signedout", isPaused: state === "paused" });
}

/** The buttons beside what is on its way. The one for pauses has two faces, so that it keeps the focus. */
function setSide(card, { pause = false, cancel = false, isPaused = false } = {}) {
  const button = part(card, "[data-act=pause]");
  button.hidden = !pause;
  button.setAttribute("aria-label", isPaused ? "Go on" : "Pause");
  button.title = isPaused ? "Go on" : "Pause";
  setIcon(button.firstElementChild, isPaused ? "play" : "pause");
  part(card, "[data-act=cancel]").hidden = !cancel;
}

/** Shows a job, as the server tells it; `canRetry` when the page still holds the file. */
export function showJob(card, job, canRetry = false) {
  if (card.dataset.job === job.jobId && isFinal(card.dataset.status) && !isFinal(job.status)) return; // late news
  Object.assign(card.dataset, { job: job.jobId, status: job.status, type: job.type });
  const done = job.status === "COMPLETED";
  const picks = picksOf(job);
  const told = jobSays(job);

  setIcon(part(card, ".picture-icon"), job.type.toLowerCase());
  setName(part(card, ".name"), job.filename);
  part(card, ".card-in").setAttribute("aria-label", job.filename);
  setPick(card, job);
  write(part(card, ".facts-text"), jobFacts(job));
  const time = part(card, "time");
  time.dateTime = job.createdAt;
  part(card, ".facts-when").hidden = false;
  localise(time);

  setSays(card, signalOf(job.status), told);
  const scanned = job.scan?.verdict === "clean" || job.status !== "PENDING";
  setTrack(card, { upload: 1, scan: scanned ? 1 : 0, work: job.status === "RETRYING" ? 0 : job.progress ?? 0, told });
  part(card, ".part-scan").toggleAttribute("data-skipped", scanned && job.scan?.verdict !== "clean");
  const retrying = job.status === "RETRYING";
  if (retrying) Object.assign(card.dataset, { until: job.nextAttemptAt ?? "", attempt: job.attempt ?? 0, max: job.maxAttempts });
  else delete card.dataset.until;

  const kept = job.filesLeft !== "results"; // its original
  card.toggleAttribute("data-expired", !kept);
  const acts = { COMPLETED: kept ? ["copy", "share", "download", "details"] : picks.opens ? ["copy", "details"] : ["details"], FAILED: canRetry && !job.error?.permanent ? ["retry", "details"] : ["details"], CANCELLED: canRetry ? ["retry", "details"] : ["details"] };
  setFoot(card, acts[job.status] ?? null);
  setSide(card);
  setFiles(card, job.files ?? [], job.jobId);
  const original = `/jobs/${job.jobId}/files/original`;
  part(card, "[data-act=details]").href = `/uploads/${job.jobId}`;
  part(card, "[data-act=download]").href = `${original}?download=1`;
  part(card, "[data-act=share]").dataset.share = job.jobId;
  part(card, "[data-act=copy]").dataset.copy = (done && picks.opens?.url) || original;
  setOpens(card, picks.opens?.url, job.filename);
  showPicture(card, picks.thumb?.url);
  part(card, ".picture-play").hidden = !(done && picks.video);
}

/** What is at the server can be picked; null: it is not yet, or is sent once more. */
function setPick(card, job) {
  const pick = part(card, ".pick");
  const box = pick.firstElementChild;
  pick.hidden = !job;
  if (!job) box.checked = false;
  if (!job || box.value === job.jobId) return;
  box.value = job.jobId;
  box.setAttribute("aria-label", `Select ${job.filename}`);
}

function setFiles(card, files, jobId) {
  const menu = part(card, ".files");
  menu.hidden = files.length === 0;
  write(part(card, ".files-count"), files.length === 1 ? "1 file" : `${files.length} files`);
  const all = part(card, ".files-all");
  all.firstElementChild.href = `/jobs/${jobId}/archive`;
  part(card, ".files-list").replaceChildren(...files.map((file) => {
    const row = fileTemplate.content.firstElementChild.cloneNode(true);
    const link = row.firstElementChild;
    link.href = file.url;
    Object.assign(link.dataset, { type: file.contentType, size: file.sizeBytes, width: file.width ?? "", height: file.height ?? "" });
    write(link.firstElementChild, file.name);
    write(link.lastElementChild, bytes(file.sizeBytes));
    return row;
  }), all);
}

/** Counts the waits of retrying jobs down; called once a second. */
export function tick() {
  for (const card of document.querySelectorAll(".card[data-until]")) {
    const { until, attempt, max } = card.dataset;
    if (until) write(part(card, ".says-text"), waiting(Date.parse(until), Number(attempt), max));
  }
}
