// The upload page: files come in, each becomes a card, the card follows its job to the end.

import { announce } from "./announce.js";
import { listen as listenToEarlier } from "./earlier.js";
import { makeCard, showJob, showUpload, tick } from "./cards.js";
import { listen as listenToIntake } from "./intake.js";
import { follow } from "./live.js";
import { localiseAll } from "./times.js";
import { Leftovers } from "./leftovers.js";
import { listen as listenToPicks } from "./picked.js";
import "./share.js";
import { Uploader } from "./uploader.js";
import { isFinal, uploadSays } from "./words.js";

const form = document.getElementById("drop");
const now = document.getElementById("now");
const cards = new Map(); // jobId → card
const cardOf = new Map(); // item → card
const itemOf = new WeakMap(); // card → item
const toldOf = new WeakMap(); // item → the state that was announced
const strangers = new Map(); // jobs that no card is known for, while an upload may yet claim them

const know = (shown) => shown.forEach((card) => cards.set(card.dataset.job, card));
know(document.querySelectorAll("#earlier .card"));

const uploader = new Uploader(form.dataset.owner, changed);
const leftovers = new Leftovers(form.dataset.owner);

function take(files) {
  const items = files.map((file) => uploader.add(file, form.elements.preset?.value));
  for (const { note } of items) leftovers.drop(note.key); // its card tells the same
  const made = items.map((item) => {
    const card = makeCard();
    cardOf.set(item, card);
    itemOf.set(card, item);
    showUpload(card, item);
    return card;
  });
  now.prepend(...made);
  settled();
  for (const item of items) {
    if (item.file.size > Number(form.dataset.maxBytes)) {
      item.problem = { says: `This file is larger than the ${form.dataset.max} that this server takes.` };
      uploader.refuse(item);
    }
  }
  announce(items.length === 1 ? `${items[0].file.name} added` : `${items.length} files added`);
  uploader.start();
}

function changed(item) {
  const card = cardOf.get(item);
  if (!card) return;
  if (item.state === "accepted") {
    const { jobId } = item.job;
    cards.set(jobId, card);
    showJob(card, item.job, true);
    const fresher = strangers.get(jobId);
    if (fresher) showJob(card, fresher, true);
    strangers.delete(jobId);
  } else {
    showUpload(card, item);
  }
  if (toldOf.get(item) === item.state) return;
  toldOf.set(item, item.state);
  if (["refused", "failed", "signedout"].includes(item.state)) announce(`${item.file.name}: ${uploadSays(item)}`);
  if (item.state === "lost" && item.tries === 1) announce(uploadSays({ ...item, sent: 0 })); // once, for all
  settled();
}

function heard(job) {
  const card = cards.get(job.jobId);
  if (!card) {
    strangers.set(job.jobId, job);
    settled();
    return;
  }
  const before = card.dataset.status;
  showJob(card, job, itemOf.has(card));
  if (before === job.status) return;
  if (job.status === "COMPLETED") announce(`${job.filename}: done`);
  if (job.status === "FAILED") announce(`${job.filename}: ${job.error?.message ?? "failed"}`);
  settled();
}

/** After a change that a count depends on: welcome jobs from elsewhere, tell the tally. */
function settled() {
  if (uploader.inFlight === 0) {
    for (const job of strangers.values()) {
      const card = makeCard();
      cards.set(job.jobId, card);
      showJob(card, job);
      now.prepend(card);
    }
    strangers.clear();
  }
  const all = [...now.children];
  document.getElementById("now-section").hidden = all.length === 0;
  if (all.length && form.classList.contains("drop-empty")) {
    form.classList.remove("drop-empty");
    document.querySelector(".shell").open = false;
  }
  const count = (status) => all.filter((card) => card.dataset.status === status).length;
  const [done, failed] = [count("COMPLETED"), count("FAILED")];
  document.getElementById("tally").textContent = `${done} of ${all.length} done${failed ? `, ${failed} failed` : ""}`;
}

function connection(text, href) {
  const line = document.getElementById("connection");
  if (line.textContent === text) return;
  line.textContent = text;
  if (!href) return;
  const link = document.createElement("a");
  Object.assign(link, { href, target: "_blank" }); // files that are on their way stay here
  link.textContent = "Sign in again";
  line.append(" ", link);
}

now.addEventListener("click", ({ target }) => {
  const act = target.closest("[data-act]")?.dataset.act;
  const item = itemOf.get(target.closest(".card"));
  if (!item) return;
  const card = cardOf.get(item);
  if (act === "cancel") {
    uploader.cancel(item);
    card.querySelector("[data-act=retry]").focus(); // the button that was pressed is gone
  }
  if (act === "pause") {
    if (item.state === "paused") uploader.resume(item);
    else uploader.pause(item);
  }
  if (act === "resume") {
    uploader.resume(item);
    card.querySelector("[data-act=pause]").focus();
  }
  if (act === "retry") {
    if (item.job) cards.delete(item.job.jobId);
    uploader.retry(item);
    card.querySelector("[data-act=cancel]").focus();
  }
});

addEventListener("beforeunload", (event) => { if (uploader.inFlight) event.preventDefault(); });

document.addEventListener("click", async (event) => {
  const opener = event.target.closest?.(".picture[href]");
  if (!opener || event.metaKey || event.ctrlKey || event.shiftKey) return;
  event.preventDefault();
  try {
    const { open } = await import("./viewer.js");
    await open(opener.closest(".card"));
  } catch {
    announce("The view could not be loaded. Try again."); // what is on its way stays
  }
});

form.elements.preset?.addEventListener("change", ({ target }) => {
  document.getElementById("preset-says").textContent = target.selectedOptions[0].title;
});

listenToIntake(form, take);
const picks = listenToPicks((ids) => {
  for (const id of ids) cards.delete(id);
  settled();
});
listenToEarlier((shown) => {
  know(shown);
  picks.count();
});
follow({
  onjob: heard,
  onstate: (text, href) => {
    connection(text, href);
    if (!text) uploader.wake();
  },
  active: () => [...cards].filter(([, card]) => !isFinal(card.dataset.status)).map(([id]) => id),
});
setInterval(() => { tick(); uploader.tick(); }, 1000);
leftovers.show();
setInterval(() => localiseAll(), 30000);
