// What a page of another site does with Uppy: window.send(options) uploads the chosen file.
import Uppy from "@uppy/core";
import Tus from "@uppy/tus";

window.sent = 0;
window.send = async ({ key, ...options }) => {
  let jobId;
  const uppy = new Uppy().use(Tus, {
    headers: { Authorization: `Bearer ${key}` },
    retryDelays: [0, 50, 100, 200, 500, 1000, 2000],
    ...options,
    onAfterResponse: (_request, response) => {
      jobId = response.getHeader("Upload-Job-Id") ?? jobId;
    },
  });
  uppy.on("upload-progress", (_file, progress) => {
    window.sent = progress.bytesUploaded;
  });
  const [file] = document.querySelector("input").files;
  uppy.addFile({ name: file.name, type: file.type, data: file });
  const { successful, failed } = await uppy.upload();
  return { jobId, url: successful[0]?.uploadURL, errors: failed.map((one) => String(one.error)) };
};
