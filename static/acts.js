// Sends a form of the panels without leaving the page: place, focus and what is picked survive.
// What the server refuses is sent once more in the plain way, so that the browser shows why. A form
// with `data-plain` is answered with a page of its own.

import { announce } from "./announce.js";
import { refresh } from "./panels.js";

const panels = document.getElementById("panels");
let plain = false;

document.addEventListener("submit", (event) => {
  const { target: form, submitter } = event;
  if (plain || "plain" in form.dataset || event.defaultPrevented || form.method !== "post" || !panels.contains(form)) return;
  event.preventDefault();
  if (submitter?.ariaBusy !== "true") act(form, submitter);
});

async function act(form, submitter) {
  const body = new URLSearchParams(new FormData(form, submitter));
  const word = submitter?.getAttribute("aria-label") ?? submitter?.textContent.trim();
  if (submitter) submitter.ariaBusy = "true";
  const address = submitter?.getAttribute("formaction") ?? form.action;
  let answer;
  try {
    answer = await fetch(address, { method: "POST", body, headers: { Accept: "application/json" } });
  } catch {
    announce("No answer from the server. Try again.");
    if (submitter) submitter.ariaBusy = null;
    return;
  }
  if (!answer.ok) {
    plain = true;
    form.requestSubmit(submitter);
    return;
  }
  const next = new URL(body.get("next"), location);
  if (next.pathname !== location.pathname) return location.assign(next);
  announce(`${word}: done`);
  submitter?.closest("details")?.removeAttribute("open");
  if (submitter) submitter.ariaBusy = null;
  await refresh({ fresh: true });
  // What was pressed may be gone: the reading goes on where the panels begin.
  if (document.activeElement === document.body) document.getElementById("main").focus({ preventScroll: true });
}
