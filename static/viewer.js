// The large view of a card with results: pictures, the pages of a PDF, a playing video; of one that
// is being worked on, what is there so far. upload.js loads it when the first card is opened.
// It reads what it shows from the card's own links, so server-made cards need nothing more.
//
// A face is made of a card's files and its name: `element`, and perhaps `keys`, which is asked
// about every key first and says whether it was meant for it.

import { setName } from "./cards.js";

const dialog = document.getElementById("viewer");
const stage = document.getElementById("stage");
const control = (name) => dialog.querySelector(`[data-view="${name}"]`);
let shown = null; // the card
let keys = null; // of its face

const viewable = () => [...document.querySelectorAll(".card:has(.picture[href])")];

function filesOf(card) {
  return [...card.querySelectorAll(".files-list a[data-type]")].map((link) => ({
    url: link.getAttribute("href"), name: link.firstElementChild.textContent, ...link.dataset,
  }));
}

function picture(files, name) {
  const img = new Image();
  const sizes = files.filter((f) => f.type.startsWith("image/")).sort((a, b) => a.width - b.width);
  const { url, width, height } = sizes.at(-1);
  if (width) Object.assign(img, { width, height });
  img.alt = name;
  img.sizes = "100vw";
  img.srcset = sizes.filter((f) => f.width).map((f) => `${f.url} ${f.width}w`).join(", ");
  img.src = url;
  return { element: img };
}

async function faceOf(card) {
  const files = filesOf(card);
  const name = card.querySelector(".name").textContent;
  if (card.dataset.type === "PDF") return (await import("./reader.js")).reader(files, name);
  if (files.some((f) => f.type.startsWith("video/"))) return (await import("./player.js")).player(files, name);
  return picture(files, name);
}

async function show(card) {
  shown = card;
  setName(dialog.querySelector(".name"), card.querySelector(".name").textContent);
  control("original").hidden = card.hasAttribute("data-expired");
  control("original").href = card.querySelector("[data-act=download]").href;
  const all = viewable();
  control("previous").disabled = all.indexOf(card) <= 0;
  control("next").disabled = all.indexOf(card) >= all.length - 1;
  const face = await faceOf(card);
  if (shown !== card) return; // gone on meanwhile
  keys = face.keys;
  stage.replaceChildren(face.element);
  stage.scrollTop = 0;
}

function step(by) {
  const all = viewable();
  const next = all[all.indexOf(shown) + by];
  if (!next) return;
  show(next);
  const pressed = control(by < 0 ? "previous" : "next");
  if (pressed.disabled || !dialog.contains(document.activeElement)) stage.focus();
}

/** Shows what there is of the card, until it is closed; then its picture has the focus again. */
export async function open(card) {
  dialog.showModal();
  stage.focus();
  await show(card);
}

control("close").addEventListener("click", () => dialog.close());
control("previous").addEventListener("click", () => step(-1));
control("next").addEventListener("click", () => step(1));
stage.addEventListener("click", ({ target }) => { if (target === stage) dialog.close(); });
dialog.addEventListener("close", () => {
  stage.replaceChildren();
  shown?.querySelector(".picture").focus();
  shown = keys = null;
});
dialog.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.target.matches("input, select, textarea")) return;
  if (keys?.(event.key)) event.preventDefault();
  else if (event.key === "ArrowLeft") step(-1);
  else if (event.key === "ArrowRight") step(1);
});
