// The earlier uploads: filters that apply by themselves, older ones below those that are there.
// Filters live in the address; uploads that are on their way go on meanwhile.

import { announce } from "./announce.js";
import { localiseAll } from "./times.js";

const TYPING_MS = 250;

const form = document.getElementById("filters");
const list = document.getElementById("earlier-list");
let typing = 0;
let asked = null;

async function fetched(query) {
  asked?.abort();
  asked = new AbortController();
  query.set("fragment", "earlier");
  const answer = await fetch(`/?${query}`, { signal: asked.signal, headers: { Accept: "text/html" } });
  if (!answer.ok || answer.redirected) throw new Error(`status ${answer.status}`);
  const { body } = new DOMParser().parseFromString(await answer.text(), "text/html");
  localiseAll(body);
  return body;
}

/** Calls `onshown` with the cards that came, whenever some did. */
export function listen(onshown) {
  if (!form) return;

  async function show() {
    try {
      const fresh = await fetched(new URLSearchParams(location.search));
      list.replaceChildren(...fresh.childNodes);
      const cards = [...list.querySelectorAll(".card")];
      onshown(cards);
      announce(cards.length ? `${cards.length} uploads shown` : "No upload matches");
    } catch (error) {
      if (error.name !== "AbortError") form.submit(); // the page itself says what is wrong
    }
  }

  function filter(push) {
    const query = new URLSearchParams([...new FormData(form)].filter(([, value]) => value));
    const address = query.size ? `/?${query}` : "/";
    if (push) history.pushState(null, "", address);
    else history.replaceState(null, "", address);
    show();
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    clearTimeout(typing);
    filter(true);
  });
  form.addEventListener("change", ({ target }) => { if (target.tagName === "SELECT") filter(true); });
  form.addEventListener("input", ({ target }) => {
    if (target.tagName === "SELECT") return;
    clearTimeout(typing);
    typing = setTimeout(() => filter(false), TYPING_MS);
  });
  addEventListener("popstate", () => {
    const query = new URLSearchParams(location.search);
    for (const field of form.querySelectorAll("[name]")) field.value = query.get(field.name) ?? "";
    show();
  });
  list.addEventListener("click", async (event) => {
    const link = event.target.closest("#older");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    try {
      const fresh = await fetched(new URL(link.href).searchParams);
      const cards = [...fresh.querySelectorAll(".card")];
      list.querySelector("#earlier").append(...cards);
      const next = fresh.querySelector(".more");
      if (next) link.closest(".more").replaceWith(next);
      else link.closest(".more").remove();
      onshown(cards);
      cards[0]?.querySelector("a, button")?.focus();
    } catch (error) {
      if (error.name !== "AbortError") location.assign(link.href);
    }
  });
}
