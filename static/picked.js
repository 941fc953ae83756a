// The cards that are picked, of this visit and of earlier ones: a bar says how many they are and
// what can be done with all of them. Without scripts its form does the same, a page at a time.

import { announce } from "./announce.js";
import { letGo } from "./pictures.js";
import { handOver, makeLinks } from "./share.js";

const form = document.getElementById("picked");
const says = document.getElementById("picked-says");
const ask = document.getElementById("ask-delete");

const boxes = () => [...document.querySelectorAll(".card .pick:not([hidden]) input")];
const picked = () => boxes().filter((box) => box.checked);
const inWords = (n) => `${n} upload${n === 1 ? "" : "s"}`;

/** Calls `ongone(ids)` when jobs were deleted. `count()` is for when cards come and go. */
export function listen(ongone) {
  let last = null; // where a range begins

  document.addEventListener("click", (event) => {
    const box = event.target.closest?.(".pick input");
    if (!box) return;
    const all = boxes();
    const [from, to] = [all.indexOf(last), all.indexOf(box)].sort((a, b) => a - b);
    if (event.shiftKey && from >= 0) for (const one of all.slice(from, to + 1)) one.checked = box.checked;
    last = box;
    count();
  });
  form.addEventListener("click", ({ target }) => {
    const which = target.closest("[data-pick]")?.dataset.pick;
    if (!which) return;
    const first = picked()[0];
    for (const box of boxes()) box.checked = which === "all";
    count();
    if (which === "none") first?.focus(); // the bar is gone
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    act(event.submitter.dataset.do, picked()).catch(() => tell("No answer from the server. Try again."));
  });
  ask.addEventListener("close", () => {
    if (ask.returnValue === "delete") remove(picked()).catch(() => tell("No answer from the server. Try again."));
    ask.returnValue = "";
  });
  addEventListener("pageshow", count); // a browser that goes back keeps what was picked

  async function remove(gone) {
    const jobs = gone.map((box) => box.value);
    const answer = await post("/jobs/delete", { jobs });
    if (!answer.ok) return tell((await answer.json()).detail);
    const near = nextTo(gone);
    for (const card of gone.map((box) => box.closest(".card"))) {
      letGo(card);
      card.remove();
    }
    count();
    ongone(jobs);
    announce(`${inWords(jobs.length)} deleted`);
    (near ?? document.getElementById("choose")).focus();
  }

  count();
  return { count };
}

/** Does it to those that are picked; for what needs an original, to those that still have theirs. */
async function act(what, all) {
  const able = what === "delete" ? all : all.filter((box) => !box.closest("[data-expired]"));
  const left = all.length - able.length;
  if (able.length) await { download, share, delete: askToDelete }[what](able.map((box) => box.value));
  if (left) tell(`${says.textContent} ${inWords(left)} left out: the original was deleted by its age.`.trim());
}

function count() {
  const { length } = picked();
  const most = Number(form.dataset.most);
  form.toggleAttribute("data-count", length > 0);
  document.documentElement.classList.toggle("picking", length > 0);
  document.getElementById("picked-count").textContent = length > most ? `${length} selected, up to ${most} at once` : `${length} selected`;
  for (const button of form.querySelectorAll("[data-do]")) button.disabled = length === 0 || length > most;
  says.textContent = "";
}

/** Told in the bar, and so to screen readers too. */
function tell(text) { says.textContent = text; }

const post = (path, body) => fetch(path, {
  method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json", Accept: "application/json" },
});

/** The box that is read on at when these are gone. */
function nextTo(gone) {
  const all = boxes();
  const rest = all.filter((box) => !gone.includes(box));
  return rest.find((box) => all.indexOf(box) > all.indexOf(gone[0])) ?? rest.at(-1);
}

async function download(jobs) {
  const url = `/archive?${new URLSearchParams(jobs.map((id) => ["job", id]))}`;
  const { ok } = await fetch(url, { method: "HEAD" });
  if (!ok) return tell((await (await fetch(url, { headers: { Accept: "application/json" } })).json()).detail);
  Object.assign(document.createElement("a"), { href: url, download: "" }).click(); // the page stays, and its uploads
}

async function share(jobs) {
  const made = await makeLinks(jobs, Number(form.elements.expiresInS.value));
  if (made.problem) return tell(made.problem);
  const urls = made.links.map(({ url }) => url);
  const until = new Date(made.links[0].expiresAt).toLocaleDateString(undefined, { dateStyle: "medium" });
  const many = `${urls.length} link${urls.length === 1 ? "" : "s"}`;
  if (await handOver(urls)) tell(`${many} copied, good until ${until}. Whoever has one gets the file.`);
}

async function askToDelete(jobs) {
  document.getElementById("ask-title").textContent = `Delete ${inWords(jobs.length)}?`;
  ask.querySelector(".danger").textContent = `Delete ${inWords(jobs.length)}`;
  ask.showModal();
}
