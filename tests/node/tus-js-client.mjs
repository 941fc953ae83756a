// Uploads a file with tus-js-client: node tus-js-client.mjs '{"file", "endpoint", "key", …options}'
// Tells {"progress"} now and then, and {"url", "jobId"} at the end, a line each.
import fs from "node:fs";
import { PassThrough } from "node:stream";
import * as tus from "tus-js-client";

const { file, key, urls, ...options } = JSON.parse(process.argv[2]);
const say = (told) => process.stdout.write(`${JSON.stringify(told)}\n`);

// Of a file it does not notice the end while the length is deferred (4.3.1); of a stream it does.
const read = fs.createReadStream(file);
const upload = new tus.Upload(options.uploadLengthDeferred ? read.pipe(new PassThrough()) : read, {
  headers: { Authorization: `Bearer ${key}` },
  metadata: { filename: "words.txt", filetype: "text/plain" },
  retryDelays: [0, 50, 100, 200, 500, 1000, 2000],
  ...(urls ? { urlStorage: new tus.FileUrlStorage(urls) } : {}),
  ...options,
  onProgress: (sent) => say({ progress: sent }),
  onSuccess: ({ lastResponse }) =>
    say({ url: upload.url, jobId: lastResponse.getHeader("Upload-Job-Id") }),
  onError: (error) => {
    say({ error: String(error) });
    process.exitCode = 1;
  },
});
const [previous] = urls ? await upload.findPreviousUploads() : [];
if (previous) {
  say({ resumed: previous.uploadUrl });
  upload.resumeFromPreviousUpload(previous);
}
upload.start();
