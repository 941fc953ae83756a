// Every way by which files come to the page, leading to one list: choose, folder, camera,
// drop (folders too) and paste.

/** Calls `take(files)` with an array of File whenever some arrive. */
export function listen(form, take) {
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["choose", "folder", "camera"]) {
    const input = document.getElementById(id);
    input.addEventListener("change", () => {
      take([...input.files]);
      input.value = "";
    });
  }
  for (const button of form.querySelectorAll("[data-pick]")) {
    button.addEventListener("click", () => document.getElementById(button.dataset.pick).click());
  }
  listenToDrop(take);
  document.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (!files.length) return;
    event.preventDefault();
    take(files.map(named));
  });
}

function listenToDrop(take) {
  let depth = 0; // dragenter and dragleave come for every element on the way
  const shown = (on) => document.body.classList.toggle("dragging", on);
  const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
  addEventListener("dragenter", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth += 1;
    shown(true);
  });
  addEventListener("dragover", (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    event.dataTransfer.dropEffect = "copy";
  });
  addEventListener("dragleave", (event) => {
    if (!carriesFiles(event)) return;
    depth = Math.max(0, depth - 1);
    if (depth === 0) shown(false);
  });
  addEventListener("drop", async (event) => {
    if (!carriesFiles(event)) return;
    event.preventDefault();
    depth = 0;
    shown(false);
    const files = await dropped(event.dataTransfer);
    if (files.length) take(files);
  });
}

/** The dropped files, folders opened. Entries must be taken before the first await. */
async function dropped(transfer) {
  const entries = [...transfer.items]
    .filter((item) => item.kind === "file")
    .map((item) => item.webkitGetAsEntry?.() ?? item.getAsFile());
  const flat = [...transfer.files];
  if (!entries.some((entry) => entry?.isDirectory)) return flat;
  const found = [];
  for (const entry of entries) await walk(entry, found);
  return found;
}

async function walk(entry, found) {
  if (entry instanceof File) found.push(entry);
  else if (entry?.isFile) {
    const file = await new Promise((resolve) => entry.file(resolve, () => resolve(null)));
    if (file && !file.name.startsWith(".")) found.push(file);
  } else if (entry?.isDirectory) {
    const reader = entry.createReader();
    for (;;) {
      const batch = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
      if (!batch.length) return;
      for (const child of batch) await walk(child, found);
    }
  }
}

/** Pasted pictures are all called image.png; give them a name that tells them apart. */
function named(file) {
  if (!/^image\.\w+$/.test(file.name)) return file;
  const at = new Date(Date.now() - new Date().getTimezoneOffset() * 60000).toISOString().slice(0, 19);
  return new File([file], file.name.replace("image", `pasted ${at.replace("T", " ").replaceAll(":", ".")}`), { type: file.type });
}
