// One file's way to the server, from wherever it stopped, until it is a job.

import * as tus from "./tus.js";
import { Stopped, request } from "./wire.js";

/** Smaller ones go in one request: what a broken one has to send again is sent in no time. */
const SMALL_BYTES = 256 * 1024;

/**
 * Sent in a request of their own: by these the server knows what it is offered. While a large
 * body is on its way, not every browser hears a refusal.
 */
const FIRST_BYTES = 16 * 1024;

const NO_RESUMPTION = 501;

/**
 * Sends what the server does not have of `item.file` yet; resolves to the job, a document as
 * GET /status/{jobId} gives it. `onsent(bytes)` tells how much of the file is there.
 *
 * Rejects with Lost, Stopped (by `signal`) or Refused (wire.js); what came until then is kept,
 * and `item.note` knows where, so calling this again goes on.
 */
export async function transfer(item, { signal, onsent }) {
  const { file, note } = item;
  if (file.size < SMALL_BYTES) return whole(item, { signal, onsent });
  await note.claim();
  let there = note.address ? await find(item, signal) : null;
  try {
    there ??= await begin(item);
  } catch (error) {
    if (error.status === NO_RESUMPTION) return whole(item, { signal, onsent });
    throw error;
  }
  if (signal.aborted) throw new Stopped();
  onsent(there.offset);
  while (!there.jobId) {
    const { offset } = there;
    const piece = file.slice(offset, offset === 0 ? FIRST_BYTES : file.size);
    there = await tus.append(note.address, piece, offset, {
      signal, onsent: (bytes) => onsent(offset + bytes),
    });
  }
  return (await request("GET", `/status/${there.jobId}`, { signal })).body;
}

/** Not stopped by a signal: somebody has to learn the address, also to have it removed. */
async function begin(item) {
  const { file, note, preset } = item;
  item.id ??= randomId();
  const there = await tus.create(file, item.id, preset);
  note.keep(there.address, file, preset);
  item.isOurs = true;
  return there;
}

/** How far the upload is; null when there is none any more. */
async function find(item, signal) {
  const { file, note } = item;
  try {
    const there = await tus.look(note.address, signal);
    if (there.jobId || there.offset < file.size) return there;
  } catch (error) {
    if (![404, 410].includes(error.status)) throw error;
    // One of an earlier visit has expired, most likely. What was refused just now is told.
    if (item.isOurs) await tus.why(note.address).catch((words) => { if (words.reason) throw words; });
  }
  note.forget();
  item.id = null;
  return null;
}

async function whole(item, { signal, onsent }) {
  const { file, preset } = item;
  item.id ??= randomId();
  onsent(0);
  const { body } = await request("POST", `/upload?filename=${encodeName(file.name)}&preset=${preset}`, {
    headers: { "Content-Type": file.type || "application/octet-stream", "Idempotency-Key": item.id },
    body: file, signal, onsent,
  });
  return body.jobs?.[0] ?? body;
}

/** Whether the file is still the one that was chosen: a changed one breaks as the network does. */
export async function canRead({ file, sent }) {
  const at = Math.max(0, Math.min(sent, file.size - 1));
  try {
    await file.slice(at, at + 1).arrayBuffer();
    return true;
  } catch {
    return false;
  }
}

/** Names may hold half a surrogate pair, which encodeURIComponent throws at. */
function encodeName(name) {
  return encodeURIComponent(name.replace(/[\ud800-\udbff](?![\udc00-\udfff])|(?<![\ud800-\udbff])[\udc00-\udfff]/g, "\ufffd"));
}

/** crypto.randomUUID exists on https and localhost only; this does on a LAN address too. */
function randomId() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}
