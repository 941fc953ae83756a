// The large view of a card with results: pictures, a PDF's first pages, a playing video; of one
// that is being worked on, what is there so far.
// It reads what it shows from the card's own links, so server-made cards need nothing more.

import { setName } from "./cards.js";

const dialog = document.getElementById("viewer");
const stage = document.getElementById("stage");
const control = (name) => dialog.querySelector(`[data-view="${name}"]`);
let shown = null;

const viewable = () => [...document.querySelectorAll(".card:has(.picture[href])")];

function filesOf(card) {
  return [...card.querySelectorAll(".files-list a[data-type]")].map((link) => ({
    url: link.getAttribute("href"), name: link.firstElementChild.textContent, ...link.dataset,
  }));
}

function image({ url, width, height }, alt) {
  const img = new Image();
  if (width) img.width = width;
  if (height) img.height = height;
  img.alt = alt;
  img.src = url;
  return img;
}

function picture(files, name) {
  const sizes = files.filter((f) => f.type.startsWith("image/")).sort((a, b) => a.width - b.width);
  const img = image(sizes.at(-1), name);
  img.removeAttribute("src");
  img.sizes = "100vw";
  img.srcset = sizes.filter((f) => f.width).map((f) => `${f.url} ${f.width}w`).join(", ");
  img.src = sizes.at(-1).url;
  return img;
}

function film(files, name) {
  const video = document.createElement("video");
  const file = files.find((f) => f.type.startsWith("video/"));
  const poster = files.find((f) => f.name.startsWith("poster")) ?? files.find((f) => f.type.startsWith("image/"));
  Object.assign(video, { controls: true, autoplay: true, playsInline: true, preload: "metadata", src: file.url });
  if (poster) video.poster = poster.url;
  if (file.width) video.width = file.width;
  if (file.height) video.height = file.height;
  video.setAttribute("aria-label", name);
  return video;
}

function pages(files, name) {
  const list = document.createElement("div");
  list.className = "pages";
  const note = document.createElement("p");
  note.className = "viewer-note";
  const byNumber = (a, b) => a.name.localeCompare(b.name, "en", { numeric: true });
  const pictures = files.filter((f) => f.type.startsWith("image/") && !f.name.startsWith("thumbnail")).sort(byNumber);
  const shownPages = pictures.length ? pictures : files.filter((f) => f.type.startsWith("image/"));
  const count = document.createElement("span");
  count.textContent = shownPages.length === 1 ? "The first page" : `The first ${shownPages.length} pages`;
  note.append(count);
  for (const file of files.filter((f) => f.type.startsWith("text/"))) {
    const link = document.createElement("a");
    link.href = file.url;
    link.target = "_blank";
    link.textContent = "The text of all pages";
    note.append(link);
  }
  list.append(note, ...shownPages.map((f, i) => image(f, `${name}, page ${i + 1}`)));
  return list;
}

function show(card) {
  shown = card;
  const name = card.querySelector(".name").textContent;
  const files = filesOf(card);
  setName(dialog.querySelector(".name"), name);
  const face = card.dataset.type === "PDF" ? pages : files.some((f) => f.type.startsWith("video/")) ? film : picture;
  stage.replaceChildren(face(files, name));
  stage.scrollTop = 0;
  control("original").href = card.querySelector("[data-act=download]").href;
  const all = viewable();
  control("previous").disabled = all.indexOf(card) <= 0;
  control("next").disabled = all.indexOf(card) >= all.length - 1;
}

function step(by) {
  const all = viewable();
  const next = all[all.indexOf(shown) + by];
  if (next) show(next);
}

export function listen() {
  document.addEventListener("click", (event) => {
    const opener = event.target.closest?.(".picture[href]");
    if (!opener || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    show(opener.closest(".card"));
    dialog.showModal();
    stage.focus();
  });
  control("close").addEventListener("click", () => dialog.close());
  control("previous").addEventListener("click", () => step(-1));
  control("next").addEventListener("click", () => step(1));
  stage.addEventListener("click", ({ target }) => { if (target === stage) dialog.close(); });
  dialog.addEventListener("close", () => {
    stage.replaceChildren();
    shown?.querySelector(".picture").focus();
  });
  dialog.addEventListener("keydown", ({ key, target }) => {
    if (target.tagName === "VIDEO") return;
    if (key === "ArrowLeft") step(-1);
    if (key === "ArrowRight") step(1);
  });
}
