// What every page does: times in the reader's zone, copy buttons, menus that close.

import { announce } from "./announce.js";
import { localiseAll } from "./times.js";

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // no clipboard on plain http: the old way works there
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "vh";
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    if (!copied) return false;
  }
  return true;
}

document.addEventListener("click", async ({ target }) => {
  for (const menu of document.querySelectorAll("details.files[open], details.menu[open]")) {
    if (!menu.contains(target)) menu.open = false;
  }
  const button = target.closest?.("[data-copy], [data-copy-text]");
  if (!button) return;
  const { copy: path, copyText: text } = button.dataset;
  const copied = await copy(text ?? new URL(path, location.href).href);
  announce(copied ? "Copied" : "Copying did not work");
  const use = button.querySelector("use");
  const before = use.getAttribute("href");
  if (!copied || before.endsWith("#done")) return;
  use.setAttribute("href", before.replace(/#.*/, "#done"));
  setTimeout(() => use.setAttribute("href", before), 1600);
});

document.addEventListener("keydown", ({ key }) => {
  if (key !== "Escape") return;
  const menu = document.querySelector("details.files[open], details.menu[open]");
  if (!menu) return;
  menu.open = false;
  menu.querySelector("summary").focus();
});

localiseAll(document, document.body.classList.contains("page-upload"));
