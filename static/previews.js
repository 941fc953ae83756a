// Small pictures of files that are still here, for the slots of their cards until the server has
// made its own. A photograph that takes 5 MB as a file takes 100 MB and more when it is decoded:
// so one is decoded at a time, and what is kept of it is a few KB.

const MAX_BYTES = 25e6;
const MAX_PIXELS = 100e6;
const SHOWN = /^image\/(jpeg|png|webp|gif|avif)$/;
const SLOT_PX = { width: 256, height: 192 }; // of the card, at two dots a pixel

let turn = Promise.resolve();

/**
 * The address of a small picture of the file, for whoever shows it to revoke; null where the
 * browser can show none, where the file is too large, or where `isWanted()` says no by its turn.
 */
export function previewOf(file, isWanted) {
  if (!SHOWN.test(file.type) || file.size > MAX_BYTES) return Promise.resolve(null);
  turn = turn.then(() => (isWanted() ? shrunk(file) : null)).catch(() => null); // damaged: no picture
  return turn;
}

async function shrunk(file) {
  const image = new Image();
  const address = URL.createObjectURL(file);
  try {
    await new Promise((resolve, reject) => {
      Object.assign(image, { onload: resolve, onerror: reject, src: address });
    });
    const { naturalWidth: width, naturalHeight: height } = image; // of the head; nothing is decoded yet
    if (width * height > MAX_PIXELS) return null;
    await image.decode();
    return await drawn(image, Math.max(SLOT_PX.width / width, SLOT_PX.height / height));
  } finally {
    image.removeAttribute("src");
    URL.revokeObjectURL(address);
  }
}

/** What the slot shows of it: the middle. */
async function drawn(image, scale) {
  const canvas = Object.assign(document.createElement("canvas"), SLOT_PX);
  const [width, height] = [image.naturalWidth * scale, image.naturalHeight * scale];
  canvas.getContext("2d").drawImage(image, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
  const small = await new Promise((resolve) => { canvas.toBlob(resolve, "image/webp", 0.8); });
  return small && URL.createObjectURL(small);
}
