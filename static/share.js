// A link to a job's file for people with no account: made, and shared or copied.

import { announce } from "./announce.js";
import { copy, showDone } from "./clipboard.js";

async function share(button) {
  const answer = await fetch(`/jobs/${button.dataset.share}/links`, { method: "POST", headers: { "Content-Type": "application/json" }, body: "{}" });
  if (!answer.ok) throw new Error(`status ${answer.status}`);
  const { url, expiresAt } = await answer.json();
  const until = new Date(expiresAt).toLocaleDateString(undefined, { dateStyle: "medium" });
  if (navigator.share && matchMedia("(pointer: coarse)").matches) {
    await navigator.share({ url });
    return;
  }
  if (!(await copy(url))) throw new Error("no clipboard");
  showDone(button);
  announce(`Link copied. Whoever has it can open the file until ${until}.`);
  button.title = `Copied. Good until ${until}`;
}

document.addEventListener("click", async ({ target }) => {
  const button = target.closest?.("[data-act=share]");
  if (!button?.dataset.share) return;
  try {
    await share(button);
  } catch (error) {
    if (error.name !== "AbortError") announce("No link could be made; try again.");
  }
});
