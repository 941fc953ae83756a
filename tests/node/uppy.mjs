// Uploads a file with Uppy under Node.js: node uppy.mjs '{"file", "endpoint", "key", …options}'
// Tells {"url", "jobId"} at the end.
import fs from "node:fs";
import Uppy from "@uppy/core";
import Tus from "@uppy/tus";

const { file, key, ...options } = JSON.parse(process.argv[2]);
const data = fs.readFileSync(file);
data.size = data.length; // what Uppy asks a Blob for
let jobId;
const uppy = new Uppy().use(Tus, {
  headers: { Authorization: `Bearer ${key}` },
  retryDelays: [0, 50, 100, 200, 500, 1000, 2000],
  ...options,
  onAfterResponse: (_request, response) => {
    jobId = response.getHeader("Upload-Job-Id") ?? jobId;
  },
});
uppy.addFile({ name: "words.txt", type: "text/plain", data });
const { successful, failed } = await uppy.upload();
for (const { error } of failed) console.error(error);
console.log(JSON.stringify({ url: successful[0]?.uploadURL, jobId }));
process.exitCode = failed.length;
