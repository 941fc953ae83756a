// One request to this server, with a deadline on every wait. XMLHttpRequest, for it alone tells
// how much of a body has gone out.

const QUIET_S = 30; // with no byte going out, the connection is dead for all that we know
const ANSWER_S = 120; // the whole may have to be read once more before it is answered for

/** Nobody answered: no network, no server, or neither in time. */
export class Lost extends Error {}

/** The caller's `signal` ended it. */
export class Stopped extends Error {}

/** An answer that is no success, with the server's words. */
export class Refused extends Error {
  constructor(status, problem, retryAfterS) {
    super(problem?.detail || problem?.title || `The server could not take this (${status}).`);
    Object.assign(this, { status, code: problem?.code, reason: problem?.reason, retryAfterS });
  }
}

/**
 * Resolves to `{header(name), body}` of a success, `body` parsed where it is JSON.
 * Rejects with Lost, Stopped or Refused. `onsent(bytes)` is told how much of the body is out.
 */
export function request(method, path, { headers = {}, body = null, signal, onsent } = {}) {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) { reject(new Stopped()); return; }
    const xhr = new XMLHttpRequest();
    let deadline = 0;
    const within = (s) => {
      clearTimeout(deadline);
      deadline = setTimeout(() => xhr.abort(), s * 1000);
    };
    const stop = () => xhr.abort();
    signal?.addEventListener("abort", stop);
    if (body) {
      xhr.upload.onprogress = ({ loaded }) => { within(QUIET_S); onsent?.(loaded); };
      xhr.upload.onload = ({ loaded }) => { within(ANSWER_S); onsent?.(loaded); };
    }
    xhr.onloadend = () => {
      clearTimeout(deadline);
      signal?.removeEventListener("abort", stop);
      if (xhr.status >= 200 && xhr.status < 300) {
        resolve({ header: (name) => xhr.getResponseHeader(name), body: parse(xhr.responseText) });
      } else if (xhr.status) {
        const retryAfterS = Number(xhr.getResponseHeader("Retry-After")) || 0;
        reject(new Refused(xhr.status, parse(xhr.responseText), retryAfterS));
      } else {
        reject(signal?.aborted ? new Stopped() : new Lost());
      }
    };
    xhr.open(method, path);
    xhr.setRequestHeader("Accept", "application/json");
    for (const [name, value] of Object.entries(headers)) xhr.setRequestHeader(name, value);
    within(body ? QUIET_S : ANSWER_S);
    xhr.send(body);
  });
}

function parse(text) {
  try { return JSON.parse(text); } catch { return null; }
}
