// What every page does: times in the reader's zone, copy buttons, menus that close.

import { announce } from "./announce.js";
import { copy, showDone } from "./clipboard.js";
import { localiseAll } from "./times.js";

document.addEventListener("click", async ({ target }) => {
  for (const menu of document.querySelectorAll("details.files[open], details.menu[open]")) {
    if (!menu.contains(target)) menu.open = false;
  }
  const button = target.closest?.("[data-copy], [data-copy-text]");
  if (!button) return;
  const { copy: path, copyText: text } = button.dataset;
  const copied = await copy(text ?? new URL(path, location.href).href);
  announce(copied ? "Copied" : "Copying did not work");
  if (copied) showDone(button);
});

document.addEventListener("keydown", ({ key }) => {
  if (key !== "Escape") return;
  const menu = document.querySelector("details.files[open], details.menu[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

localiseAll(document, document.body.classList.contains("page-upload"));
