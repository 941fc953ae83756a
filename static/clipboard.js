// Texts for the clipboard, and the tick on the button that copied one.

/** Whether it is there now. */
export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch { // no clipboard on plain http: the old way works there
    const area = document.createElement("textarea");
    area.value = text;
    area.className = "vh";
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    if (!copied) return false;
  }
  return true;
}

export function showDone(button) {
  const use = button.querySelector("use");
  const before = use.getAttribute("href");
  if (before.endsWith("#done")) return;
  use.setAttribute("href", before.replace(/#.*/, "#done"));
  setTimeout(() => use.setAttribute("href", before), 1600);
}
