// The slot of a card for its picture: first a preview of the file that is still here, then what
// the server has made of it. Its size is fixed, so nothing moves when a picture comes.

import { previewOf } from "./previews.js";

const imageOf = (card) => card.querySelector(".picture-img");

function put(img, address) {
  if (img.src.startsWith("blob:")) URL.revokeObjectURL(img.src);
  img.hidden = !address;
  if (address) img.src = address;
  else img.removeAttribute("src");
}

/** A local picture, until the server's thumbnail is there. */
export async function showPreview(card, file) {
  const img = imageOf(card);
  const isWanted = () => !img.dataset.wanted && !img.hasAttribute("src");
  const address = await previewOf(file, isWanted);
  if (!address) return;
  if (card.isConnected && isWanted()) put(img, address);
  else URL.revokeObjectURL(address);
}

/** The server's thumbnail; null: there is none, or its attempt failed and took it along. */
export function showPicture(card, url) {
  const img = imageOf(card);
  if (img.dataset.wanted === (url ?? "") || img.getAttribute("src") === url) return;
  img.dataset.wanted = url ?? "";
  if (!url) {
    if (!img.src.startsWith("blob:")) put(img, null);
    return;
  }
  const loader = new Image(); // the preview stays until the thumbnail can take its place
  loader.onload = () => { if (img.dataset.wanted === url) put(img, url); }; // else it is gone since
  loader.onerror = () => { if (img.dataset.wanted === url) img.dataset.wanted = ""; };
  loader.src = url;
}

/** What the picture leads to: results, also those of work that goes on. */
export function setOpens(card, url, name) {
  const picture = card.querySelector(".picture");
  if (url) {
    picture.href = url;
    picture.setAttribute("aria-label", `Open ${name}`);
  } else {
    picture.removeAttribute("href");
    picture.removeAttribute("aria-label");
  }
}

/** The card goes away: nothing of its preview stays in memory. */
export function letGo(card) {
  put(imageOf(card), null);
}
