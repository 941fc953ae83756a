// Uploads of earlier visits that are not finished: a quiet line each, until the file comes again.

import { announce } from "./announce.js";
import { setName } from "./cards.js";
import { look } from "./tus.js";
import { notes } from "./unfinished.js";
import { bytes } from "./words.js";

const list = document.getElementById("unfinished");
const template = document.getElementById("unfinished-template");

export class Leftovers {
  #lines = new Map(); // key → element, or null for what is not to be shown

  constructor(owner) { this.owner = owner; }

  /** Asks the server for each, and forgets those that are over. */
  async show() {
    for (const note of await notes(this.owner)) {
      if (this.#lines.has(note.key)) continue; // its file came meanwhile
      if (note.isUnwanted) note.remove();
      else await this.#ask(note);
    }
  }

  async #ask(note) {
    try {
      const { offset, jobId } = await look(note.address);
      if (jobId || offset >= note.size) note.forget();
      else if (!this.#lines.has(note.key)) this.#add(note, offset);
    } catch ({ status }) {
      if ([404, 410].includes(status)) note.forget();
    }
  }

  #add(note, offset) {
    const line = template.content.firstElementChild.cloneNode(true);
    setName(line.querySelector(".name"), note.name);
    const as = note.preset ? `, with the preset ${note.preset},` : "";
    const here = `${bytes(offset)} of ${bytes(note.size)} are here. Choose the file again${as} to go on.`;
    line.querySelector(".unfinished-says").textContent = here;
    const button = line.querySelector("button");
    button.setAttribute("aria-label", `Remove ${note.name}`);
    button.addEventListener("click", () => {
      note.remove();
      this.drop(note.key);
      announce(`${note.name} removed`);
      document.getElementById("choose").focus({ preventScroll: true }); // the button is gone
    });
    this.#lines.set(note.key, line);
    list.append(line);
    list.hidden = false;
  }

  /** No word of this one any more. */
  drop(key) {
    this.#lines.get(key)?.remove();
    this.#lines.set(key, null);
    list.hidden = !list.firstElementChild;
  }
}
