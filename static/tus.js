// The tus protocol, version 1.0.0, as much of it as a page needs.
// Every function rejects as `request` of wire.js does.

import { request } from "./wire.js";

const VERSION = { "Tus-Resumable": "1.0.0" };
const BYTES = { "Content-Type": "application/offset+octet-stream" };

/** How an upload is after an answer; `jobId` once it has become a job. */
function stateOf({ header }) {
  return {
    address: header("Location"),
    offset: Number(header("Upload-Offset")),
    length: Number(header("Upload-Length")),
    jobId: header("Upload-Job-Id"),
  };
}

/** Begins an upload of `file`: one for each `key`, however often the answer is lost. */
export async function create(file, key, preset) {
  const headers = {
    ...VERSION, "Idempotency-Key": key, "Upload-Length": file.size, "Upload-Metadata": metadata(file, preset),
  };
  return stateOf(await request("POST", "/files", { headers }));
}

/** How far it is. The server lets go of an older request that still appends to it. */
export async function look(address, signal) {
  return stateOf(await request("HEAD", address, { headers: VERSION, signal }));
}

/** Sends `piece`, the bytes of the file from `offset` on. */
export async function append(address, piece, offset, { signal, onsent }) {
  const headers = { ...VERSION, ...BYTES, "Upload-Offset": offset };
  return stateOf(await request("PATCH", address, { headers, body: piece, signal, onsent }));
}

export async function remove(address) {
  await request("DELETE", address, { headers: VERSION });
}

/** Rejects with the words that HEAD, which has no body, could not bring. */
export async function why(address) {
  await request("PATCH", address, { headers: { ...VERSION, ...BYTES, "Upload-Offset": 0 } });
}

function metadata({ name, type }, preset) {
  const fields = [`filename ${base64(name)}`];
  if (preset) fields.push(`preset ${base64(preset)}`);
  if (type) fields.push(`filetype ${base64(type)}`);
  return fields.join(",");
}

/** Of the text as UTF-8; half a surrogate pair, which names may hold, becomes U+FFFD. */
function base64(text) {
  return btoa(Array.from(new TextEncoder().encode(text), (byte) => String.fromCharCode(byte)).join(""));
}
