// Sends files, a few at a time, until each is a job, and tells how each is going. No DOM.
//
// An item is {file, preset, note, state, sent, pace, problem, job}; its states:
//
//   waiting → uploading → accepted | refused | failed
//
// and in between, with what has come kept: paused (by the user), lost (nobody answers), held
// (the server asks to come back), signedout. At any time: cancelled. One that is held because
// there were too many requests (isLimited) keeps those that wait from asking too.

import { Pace } from "./pace.js";
import { canRead, transfer } from "./transfer.js";
import { noteOf } from "./unfinished.js";
import { Lost, Stopped } from "./wire.js";

const PARALLEL = 3; // with the event stream, what HTTP/1.1 browsers leave of six connections
const TRIES = 6; // with answers that may change, and not a byte of progress
const LONGEST_WAIT_S = 15;
const COME_BACK = [408, 409, 423, 425, 429];

export class Uploader {
  #queue = [];
  #running = new Set();
  #asleep = new Map(); // item → timer
  #signedOut = new Set();

  /** `onchange(item)` after every change of an item. */
  constructor(owner, onchange) {
    Object.assign(this, { owner, onchange });
    addEventListener("online", () => this.wake());
    addEventListener("offline", () => { for (const item of this.#running) this.#lose(item); });
    addEventListener("focus", () => this.#signedIn());
  }

  /** How many are on their way, or would be if they could. */
  get inFlight() { return new Set([...this.#queue, ...this.#running, ...this.#asleep.keys()]).size; }

  /** `preset`: the name of one, or an empty text for the server's default. */
  add(file, preset = "") {
    const item = { file, preset, note: noteOf(this.owner, file, preset), id: null, sent: 0, tries: 0, problem: null, job: null };
    this.#wait(item);
    return item;
  }

  /** Starts what may start. Apart from `add`, so that the caller can show all its items first. */
  start() { this.#next(); }

  pause(item) { this.#stop(item, "paused"); }

  /** After a pause, at once with the next free place. */
  resume(item) {
    this.#leave(item);
    this.#wait(item, true);
    this.onchange(item);
    this.#next();
  }

  cancel(item) {
    this.#stop(item, "cancelled");
    if (!this.#running.has(item)) this.#over(item);
  }

  /** Settles an item that need not be sent: `item.problem` says why. */
  refuse(item) { this.#stop(item, "refused"); }

  retry(item) {
    if (item.state !== "failed") Object.assign(item, { id: null, sent: 0, job: null, isOurs: false });
    Object.assign(item, { tries: 0, problem: null });
    this.resume(item);
  }

  /** The network or the server is back: those that wait for it go on now. */
  wake() {
    for (const item of [...this.#asleep.keys()]) if (item.state === "lost") this.resume(item);
  }

  /** Called once a second: where nothing moves, the rate sinks. */
  tick() {
    for (const item of this.#running) {
      if (item.state !== "uploading") continue;
      item.pace?.tell(item.sent);
      this.onchange(item);
    }
  }

  #signedIn() {
    for (const item of [...this.#signedOut]) this.resume(item);
  }

  #wait(item, first = false) {
    item.state = "waiting";
    if (first) this.#queue.unshift(item);
    else this.#queue.push(item);
  }

  #leave(item) {
    clearTimeout(this.#asleep.get(item));
    this.#asleep.delete(item);
    this.#signedOut.delete(item);
    this.#queue = this.#queue.filter((other) => other !== item);
  }

  #stop(item, state) {
    this.#leave(item);
    item.state = state;
    item.stop?.abort();
    this.onchange(item);
    this.#next();
  }

  /** No network, the browser says: not worth waiting for the connection to find out. */
  #lose(item) {
    if (item.state !== "uploading") return;
    this.#sleep(item, "lost", LONGEST_WAIT_S);
    item.stop.abort();
  }

  #next() {
    while (this.#running.size < PARALLEL) {
      const isLost = [...this.#asleep.keys()].some(({ state, isLimited }) => state === "lost" || isLimited);
      const item = this.#queue.find((one) => (
        !this.#running.has(one) // one that is about to stop
        && (one.tries > 0 || one.isLimited || !isLost) // no need for a hundred files to find out
      ));
      if (!item) return;
      this.#leave(item);
      this.#run(item);
    }
  }

  async #run(item) {
    this.#running.add(item);
    item.stop = new AbortController();
    Object.assign(item, { state: "uploading", pace: null, problem: null, isLimited: false });
    this.onchange(item);
    const onsent = (bytes) => {
      if (item.pace && bytes > item.sent) item.tries = 0;
      item.pace ??= new Pace(bytes);
      item.pace.tell(bytes);
      item.sent = bytes;
      if (item.state === "uploading") this.onchange(item);
    };
    try {
      item.job = await transfer(item, { signal: item.stop.signal, onsent });
      this.#leave(item);
      item.state = "accepted";
      item.note.forget();
    } catch (error) {
      if (!(error instanceof Stopped)) await this.#broke(item, error);
    }
    this.#running.delete(item);
    this.#over(item);
    this.onchange(item);
    this.#next();
  }

  async #broke(item, error) {
    if (item.state !== "uploading") return; // paused or cancelled meanwhile
    if (error instanceof Lost) {
      if (await canRead(item)) this.#sleep(item, "lost", Math.min(2 ** item.tries, LONGEST_WAIT_S));
      else this.#end(item, "refused", "This file was changed or moved while it was sent. Choose it again.");
    } else if (error.status === 401) {
      item.state = "signedout";
      this.#signedOut.add(item);
    } else if ([404, 410].includes(error.status) && !error.reason && item.note.address) {
      item.note.forget(); // somebody removed it
      item.id = null;
      this.#sleep(item, "lost", 1);
    } else if (error.status >= 400 && error.status < 500 && !COME_BACK.includes(error.status)) {
      this.#end(item, "refused", error.message);
      item.note.forget();
    } else if (error.status === 429 && error.retryAfterS) {
      item.isLimited = true;
      item.problem = { says: `The server asked to wait ${error.retryAfterS} s.` };
      this.#sleep(item, "held", error.retryAfterS * 1.25);
      item.tries -= 1; // it will be let in, sooner or later
    } else if (error.status && item.tries < TRIES) {
      if (error.code === "idempotency_conflict") item.id = null; // what it began was removed
      item.problem = { says: error.message };
      this.#sleep(item, error.status === 409 ? "lost" : "held", error.retryAfterS || 2 ** item.tries);
    } else {
      this.#end(item, "failed", error.message);
    }
  }

  #end(item, state, says) { Object.assign(item, { state, problem: { says } }); }

  #sleep(item, state, s) {
    item.state = state;
    item.tries += 1;
    const jittered = s * (0.75 + Math.random() / 2); // not all at once, after a restart
    this.#asleep.set(item, setTimeout(() => this.resume(item), jittered * 1000));
    this.onchange(item);
  }

  #over(item) {
    if (item.state === "cancelled") item.note.remove();
    if (["accepted", "refused", "cancelled"].includes(item.state)) item.note.release();
  }
}
