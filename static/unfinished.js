// What this browser remembers of uploads that are under way: which file goes to which address.
// It lies in localStorage, so that the same file goes on after a closed tab. No DOM.

import { remove } from "./tus.js";

const PREFIX = "unfinished:";
const held = new Set(); // keys, by items of this page; other tabs' are known by their locks

/** The notes of this owner's uploads, but for those that a tab is busy with. */
export async function notes(owner) {
  const locks = await navigator.locks?.query();
  const busy = new Set([...held, ...(locks?.held ?? []).map(({ name }) => name)]);
  const start = `${PREFIX}${owner}|`;
  const keys = safely(() => Object.keys(localStorage)) ?? [];
  return keys.filter((key) => key.startsWith(start) && !busy.has(key)).map((key) => new Note(key).read());
}

/** The note of a file that is to be uploaded, which may be there from an earlier visit. */
export function noteOf(owner, { name, size, lastModified }, preset) {
  const other = preset ? `|${preset}` : ""; // asked for something else, it is another upload
  return new Note(`${PREFIX}${owner}|${name}|${size}|${lastModified}${other}`);
}

class Note {
  #release = null;
  #isShared = true; // others see it: it is what is stored under its key

  constructor(key) { Object.assign(this, { key, address: null }); }

  /** With what is stored of it: address, name, size, preset, isUnwanted. */
  read() { return Object.assign(this, this.#stored()); }

  #stored() {
    return safely(() => JSON.parse(localStorage.getItem(this.key))) ?? {};
  }

  /**
   * Makes this upload ours alone. When another tab, or another card of this page, is busy with
   * the same file, this one has no part in that and becomes an upload of its own.
   */
  async claim() {
    if (this.#release || !this.#isShared) return;
    this.#isShared = !held.has(this.key);
    if (!this.#isShared) return;
    held.add(this.key);
    this.#release = await lock(this.key);
    this.#isShared = this.#release !== null;
    if (!this.#isShared) { held.delete(this.key); return; }
    const { address, isUnwanted } = this.#stored();
    this.address = isUnwanted ? null : address ?? null;
  }

  /** It is over, for good or ill; what is stored stays. */
  release() {
    if (!this.#release) return;
    this.#release();
    this.#release = null;
    held.delete(this.key);
  }

  keep(address, { name, size }, preset) {
    this.address = address;
    if (this.#isShared) safely(() => localStorage.setItem(this.key, JSON.stringify({ address, name, size, preset })));
  }

  forget(address = this.address) {
    if (this.address === address) this.address = null;
    if (this.#stored().address === address) safely(() => localStorage.removeItem(this.key));
  }

  /** Ends the upload at the server too. While that is not to be reached, `isUnwanted` remembers. */
  async remove() {
    const { address } = this;
    if (!address) return;
    this.address = null;
    const stored = this.#stored();
    if (stored.address === address) safely(() => localStorage.setItem(this.key, JSON.stringify({ ...stored, isUnwanted: true })));
    try {
      await remove(address);
    } catch ({ status }) {
      if (![404, 409, 410].includes(status)) return; // those are over; others may yet be removed
    }
    this.forget(address);
  }
}

/** Resolves to what lets go of it, or to null when another tab has it. */
function lock(name) {
  if (!navigator.locks) return () => {}; // plain http on a LAN: tabs take over from one another
  return new Promise((resolve) => {
    navigator.locks.request(name, { ifAvailable: true }, (got) => (
      got ? new Promise((release) => { resolve(release); }) : resolve(null)
    ));
  });
}

/** Storage may be full or forbidden: then a broken upload begins anew, and nothing else is lost. */
function safely(act) {
  try { return act(); } catch { return undefined; }
}
