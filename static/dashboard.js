// Keeps the dashboard's figures fresh while somebody looks at it.

import { announce } from "./announce.js";
import { morphChildren } from "./morph.js";
import { localiseAll } from "./times.js";

const EVERY_MS = 2000;
const SLOWEST_MS = 30000;
const TYPING_MS = 250;

const panels = document.getElementById("panels");
const filters = document.getElementById("filters");
const connection = document.getElementById("connection");
let failures = 0;
let freshAt = new Date();
let timer = 0;
let asked = null;

function tell(text, href, word) {
  if (connection.textContent === text + (word ? ` ${word}` : "")) return;
  connection.textContent = text;
  if (!href) return;
  const link = document.createElement("a");
  link.href = href;
  link.textContent = word;
  connection.append(" ", link);
}

async function refresh() {
  clearTimeout(timer);
  asked?.abort();
  if (document.hidden) return;
  asked = new AbortController();
  const query = new URLSearchParams(location.search);
  query.set("fragment", "panels");
  try {
    const answer = await fetch(`/dashboard?${query}`, { signal: asked.signal, headers: { Accept: "text/html" } });
    if (answer.status === 401 || answer.redirected) {
      tell("Your session has ended.", `/signin?next=${encodeURIComponent(location.pathname + location.search)}`, "Sign in again");
      return;
    }
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    show(new DOMParser().parseFromString(await answer.text(), "text/html").body);
    failures = 0;
    freshAt = new Date();
    tell("");
  } catch (error) {
    if (error.name === "AbortError") return;
    failures += 1;
    tell(`No answer from the server. These figures are from ${freshAt.toLocaleTimeString()}; trying again.`);
  }
  timer = setTimeout(refresh, Math.min(EVERY_MS * 2 ** failures, SLOWEST_MS));
}

function show(fresh) {
  const sentence = () => document.getElementById("summary").textContent;
  const before = sentence();
  localiseAll(fresh, false);
  morphChildren(panels, fresh);
  if (sentence() !== before) announce(sentence());
}

/** The filters live in the address: a view can be shared, and Back goes back. */
function filter(push) {
  const query = new URLSearchParams([...new FormData(filters)].filter(([, value]) => value));
  const address = query.size ? `?${query}` : location.pathname;
  if (push) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
  refresh();
}

let typing = 0;
filters.addEventListener("submit", (event) => { event.preventDefault(); filter(true); });
filters.addEventListener("change", ({ target }) => { if (target.tagName === "SELECT") filter(true); });
filters.addEventListener("input", ({ target }) => {
  if (target.tagName === "SELECT") return;
  clearTimeout(typing);
  typing = setTimeout(() => filter(false), TYPING_MS);
});
addEventListener("popstate", () => {
  const query = new URLSearchParams(location.search);
  for (const field of filters.querySelectorAll("[name]")) field.value = query.get(field.name) ?? "";
  refresh();
});

document.addEventListener("visibilitychange", refresh);
timer = setTimeout(refresh, EVERY_MS);
