// Keeps the panels of a page fresh while somebody looks at it. The server makes them, at the
// address of the page with ?fragment=panels; morph.js takes over what differs. What is shown already
// is not sent again (304). While nobody looks (another tab, a locked phone), nothing is asked for.

import { announce } from "./announce.js";
import { morphChildren } from "./morph.js";
import { localiseAll } from "./times.js";

const SLOWEST_MS = 30000;

const panels = document.getElementById("panels");
const everyMs = Number(panels.dataset.everyS) * 1000;
const connection = document.getElementById("connection");
let failures = 0;
let freshAt = new Date();
let timer = 0;
let asked = null;
let shown = ""; // the ETag of what is shown; it is that of the content, whatever the address

function tell(text, href, word) {
  if (connection.textContent === text + (word ? ` ${word}` : "")) return;
  connection.textContent = text;
  if (!href) return;
  const link = document.createElement("a");
  link.href = href;
  link.textContent = word;
  connection.append(" ", link);
}

/**
 * Fetch the panels now, and from then on again and again. `fresh`: something was just changed here,
 * so that what the server made for others a moment ago will not do.
 */
export async function refresh({ fresh = false } = {}) {
  clearTimeout(timer);
  asked?.abort();
  if (document.hidden) return;
  asked = new AbortController();
  const query = new URLSearchParams(location.search);
  query.set("fragment", "panels");
  if (fresh) query.set("fresh", "1");
  const headers = { Accept: "text/html" };
  if (shown) headers["If-None-Match"] = shown;
  try {
    const answer = await fetch(`${location.pathname}?${query}`, { signal: asked.signal, headers });
    if (answer.status === 401 || answer.redirected) {
      tell("Your session has ended.", `/signin?next=${encodeURIComponent(location.pathname + location.search)}`, "Sign in again");
      return;
    }
    if (answer.status === 404) {
      tell("This is not there any more; it was deleted.");
      return;
    }
    if (!answer.ok && answer.status !== 304) throw new Error(`status ${answer.status}`);
    if (answer.ok) show(new DOMParser().parseFromString(await answer.text(), "text/html").body);
    shown = answer.headers.get("ETag") ?? "";
    failures = 0;
    freshAt = new Date();
    tell("");
  } catch (error) {
    if (error.name === "AbortError") return;
    failures += 1;
    tell(`No answer from the server. These figures are from ${freshAt.toLocaleTimeString()}; trying again.`);
  }
  timer = setTimeout(refresh, Math.max(everyMs, Math.min(everyMs * 2 ** failures, SLOWEST_MS)));
}

function show(fresh) {
  const sentence = () => document.getElementById("summary")?.textContent.replace(/\s+/g, " ").trim();
  const before = sentence();
  localiseAll(fresh, false);
  morphChildren(panels, fresh);
  if (sentence() !== before) announce(sentence());
  panels.dispatchEvent(new Event("refreshed"));
}

document.addEventListener("visibilitychange", () => refresh());
timer = setTimeout(refresh, everyMs);
