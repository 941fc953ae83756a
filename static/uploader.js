// Sends files, a few at a time, and tells how each is going. No DOM.
//
// An item is {file, state, sent, rate, tries, problem, job}; its states:
// waiting → uploading → accepted | refused | failed | cancelled, and offline between tries.

const PARALLEL = 3; // with the event stream, what HTTP/1.1 browsers leave of six connections
const TRIES = 4;
const RATE_MEMORY_S = 4;

export class Uploader {
  #queue = [];
  #running = new Set();

  /** `onchange(item)` after every change of an item. */
  constructor(onchange) {
    this.onchange = onchange;
    addEventListener("online", () => {
      for (const item of this.#queue) if (item.state === "offline") this.#toWaiting(item);
      this.#next();
    });
  }

  get inFlight() { return this.#queue.length + this.#running.size; }

  add(file) {
    const item = { file, state: "waiting", sent: 0, rate: 0, tries: 0, problem: null, job: null, id: randomId() };
    this.#queue.push(item);
    return item;
  }

  /** Starts what may start. Apart from `add`, so that the caller can show all its items first. */
  start() { this.#next(); }

  cancel(item) {
    clearTimeout(item.timer);
    item.xhr?.abort();
    this.#queue = this.#queue.filter((other) => other !== item);
    this.#settle(item, "cancelled");
  }

  /** Settles an item that need not be sent: `item.problem` says why. */
  refuse(item) {
    this.#queue = this.#queue.filter((other) => other !== item);
    this.#settle(item, "refused");
  }

  retry(item) {
    Object.assign(item, { tries: 0, problem: null, id: item.state === "failed" ? item.id : randomId() });
    this.#queue.push(item);
    this.#toWaiting(item);
    this.#next();
  }

  #toWaiting(item) {
    clearTimeout(item.timer);
    Object.assign(item, { state: "waiting", sent: 0, rate: 0 });
    this.onchange(item);
  }

  #next() {
    while (this.#running.size < PARALLEL) {
      const at = this.#queue.findIndex((item) => item.state === "waiting");
      if (at < 0) return;
      this.#send(this.#queue.splice(at, 1)[0]);
    }
  }

  #send(item) {
    const xhr = new XMLHttpRequest();
    item.xhr = xhr;
    item.tries += 1;
    item.state = "uploading";
    this.#running.add(item);
    let last = { at: performance.now(), sent: 0 };
    xhr.upload.onprogress = ({ loaded }) => {
      const now = performance.now();
      const s = (now - last.at) / 1000;
      if (s >= 0.25) {
        const weight = item.rate ? 1 - Math.exp(-s / RATE_MEMORY_S) : 1;
        item.rate += weight * ((loaded - last.sent) / s - item.rate);
        last = { at: now, sent: loaded };
      }
      item.sent = loaded;
      this.onchange(item);
    };
    xhr.upload.onload = () => { item.sent = item.file.size; this.onchange(item); };
    xhr.onload = () => this.#answered(item, xhr);
    xhr.onerror = xhr.ontimeout = () => this.#broken(item);
    xhr.open("POST", `/upload?filename=${encodeName(item.file.name)}`);
    xhr.setRequestHeader("Accept", "application/json");
    xhr.setRequestHeader("Content-Type", item.file.type || "application/octet-stream");
    xhr.setRequestHeader("Idempotency-Key", item.id);
    xhr.send(item.file);
    this.onchange(item);
  }

  #answered(item, xhr) {
    const body = parse(xhr.responseText);
    if (xhr.status === 202 && body) {
      item.job = body.jobs?.[0] ?? body;
      this.#settle(item, "accepted");
    } else if (xhr.status >= 400 && xhr.status < 500 && xhr.status !== 429) {
      item.problem = { code: body?.code, says: body?.detail || body?.title || `The server refused this (${xhr.status}).`, signIn: xhr.status === 401 };
      this.#settle(item, "refused");
    } else if ([429, 503].includes(xhr.status) && item.tries < TRIES) {
      this.#later(item, Math.min(30, Number(xhr.getResponseHeader("Retry-After")) || 2 ** item.tries));
    } else {
      item.problem = { code: body?.code, says: body?.detail || body?.title || `The server could not take this (${xhr.status}). Try again in a while.` };
      this.#settle(item, "failed");
    }
  }

  #broken(item) {
    if (item.tries < TRIES || !navigator.onLine) return this.#later(item, 2 ** Math.min(item.tries, 4));
    item.problem = { says: "The connection to the server broke. Check the network and try again." };
    return this.#settle(item, "failed");
  }

  /** Back into the queue, to be tried again after `wait` seconds or when the network is back. */
  #later(item, wait) {
    this.#running.delete(item);
    Object.assign(item, { state: "offline", sent: 0, rate: 0, xhr: null });
    this.#queue.unshift(item);
    item.timer = setTimeout(() => { this.#toWaiting(item); this.#next(); }, wait * 1000);
    this.onchange(item);
    this.#next();
  }

  #settle(item, state) {
    this.#running.delete(item);
    item.state = state;
    item.xhr = null;
    this.onchange(item);
    this.#next();
  }
}

function parse(text) {
  try { return JSON.parse(text); } catch { return null; }
}

/** Names may hold half a surrogate pair, which encodeURIComponent throws at. */
function encodeName(name) {
  return encodeURIComponent(name.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd"));
}

/** crypto.randomUUID exists on https and localhost only; this does on a LAN address too. */
function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}
