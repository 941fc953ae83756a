// The pages of a PDF one by one: the picture of each, where there is one, and its text beside it,
// to be selected and searched. Of a thousand pages, one is in the document at a time.

import { Search } from "./search.js";

const template = document.getElementById("reader-template");
const MAX_TEXT_BYTES = 8e6; // held whole to be searched; a book has one or two

const KEYS = { ArrowLeft: -1, PageUp: -1, ArrowRight: 1, PageDown: 1, Home: -Infinity, End: Infinity };

function picturesOf(files) {
  const found = new Map(files.flatMap((file) => {
    const number = /^page-(\d+)\.\w+$/.exec(file.name)?.[1];
    return number ? [[Number(number), file]] : [];
  }));
  const thumbnail = files.find((f) => f.name.startsWith("thumbnail"));
  if (!found.size && thumbnail) found.set(1, thumbnail);
  return found;
}

/** The texts of all pages, null for one that cannot be read; none where there is no text. */
async function textsOf(files) {
  const file = files.find(({ name }) => name === "text.json");
  if (!file || Number(file.size) > MAX_TEXT_BYTES) return [];
  const answer = await fetch(file.url);
  return answer.ok ? (await answer.json()).pages : [];
}

/** See viewer.js. */
export async function reader(files, name) {
  const element = template.content.firstElementChild.cloneNode(true);
  const [img, words, none] = ["img", ".reader-text", ".reader-none"].map((one) => element.querySelector(one));
  const [back, on] = ["back", "on"].map((way) => element.querySelector(`[data-page="${way}"]`));
  const pictures = picturesOf(files);
  const texts = await textsOf(files).catch(() => []); // the pictures are there all the same
  const count = Math.max(1, texts.length, ...pictures.keys());
  let number = 1;

  function turnTo(wanted) {
    number = Math.max(1, Math.min(count, wanted));
    element.querySelector(".reader-count").textContent = `Page ${number} of ${count}`;
    back.disabled = number === 1;
    on.disabled = number === count;
    const picture = pictures.get(number);
    img.hidden = !picture;
    none.hidden = Boolean(picture);
    if (picture) {
      img.width = picture.width || 0;
      img.height = picture.height || 0;
      img.src = picture.url;
      img.alt = `${name}, page ${number}`;
    }
    const text = texts[number - 1];
    words.parentElement.hidden = !texts.length;
    words.setAttribute("aria-label", `Text of page ${number}`);
    words.textContent = text?.trim() ? text : text === null ? "The text of this page cannot be read." : "There is no text on this page.";
    words.toggleAttribute("data-empty", !text?.trim());
    words.scrollTop = 0;
    const next = pictures.get(number + 1);
    if (next) new Image().src = next.url; // there when it is turned to
  }

  const search = element.querySelector(".reader-search");
  search.hidden = !texts.some((text) => text?.trim());
  new Search(search, texts, (page, marked) => {
    turnTo(page + 1);
    if (marked) marked(words);
  });
  back.addEventListener("click", () => turnTo(number - 1));
  on.addEventListener("click", () => turnTo(number + 1));
  turnTo(1);
  const keys = (key) => {
    const isScrolled = document.activeElement === words && !key.startsWith("Arrow");
    if (!(key in KEYS) || isScrolled) return false;
    turnTo(number + KEYS[key]);
    return true;
  };
  return { element, keys };
}
