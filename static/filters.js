// Filters that apply by themselves and live in the address: a view can be shared, and Back goes back.

import { refresh } from "./panels.js";

const TYPING_MS = 250;

const form = () => document.getElementById("filters"); // comes and goes with what there is to filter
let typing = 0;

function filter(push) {
  const query = new URLSearchParams([...new FormData(form())].filter(([, value]) => value));
  const address = query.size ? `?${query}` : location.pathname;
  if (push) history.pushState(null, "", address);
  else history.replaceState(null, "", address);
  refresh();
}

document.addEventListener("submit", (event) => {
  if (event.target !== form()) return;
  event.preventDefault();
  filter(true);
});
document.addEventListener("change", ({ target }) => {
  if (target.form && target.form === form() && target.tagName === "SELECT") filter(true);
});
document.addEventListener("input", ({ target }) => {
  if (!target.form || target.form !== form() || target.tagName === "SELECT") return;
  clearTimeout(typing);
  typing = setTimeout(() => filter(false), TYPING_MS);
});
addEventListener("popstate", () => {
  const query = new URLSearchParams(location.search);
  for (const field of form()?.querySelectorAll("[name]") ?? []) field.value = query.get(field.name) ?? "";
  refresh();
});
