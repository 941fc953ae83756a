// Links to jobs' files for people with no account: made, and shared or copied.

import { announce } from "./announce.js";
import { copy, showDone } from "./clipboard.js";

/** A link to the original of each job: {links: [{url, expiresAt}]}, or what the server says instead: {problem}. */
export async function makeLinks(jobs, expiresInS) {
  const answer = await fetch("/jobs/links", {
    method: "POST", body: JSON.stringify({ jobs, expiresInS }), headers: { "Content-Type": "application/json", Accept: "application/json" },
  });
  const document = await answer.json();
  return answer.ok ? document : { problem: document.detail };
}

/** To the phone's own menu, or to the clipboard, one a line; true: they are on the clipboard. */
export async function handOver(urls) {
  if (navigator.share && matchMedia("(pointer: coarse)").matches) {
    try {
      await navigator.share(urls.length === 1 ? { url: urls[0] } : { text: urls.join("\n") });
    } catch (error) {
      if (error.name !== "AbortError") throw error;
    }
    return false;
  }
  if (!(await copy(urls.join("\n")))) throw new Error("no clipboard");
  return true;
}

async function share(button) {
  const { links, problem } = await makeLinks([button.dataset.share]);
  if (problem) return announce(problem);
  const [{ url, expiresAt }] = links;
  const until = new Date(expiresAt).toLocaleDateString(undefined, { dateStyle: "medium" });
  if (!(await handOver([url]))) return;
  showDone(button);
  announce(`Link copied. Whoever has it can open the file until ${until}.`);
  button.title = `Copied. Good until ${until}`;
}

document.addEventListener("click", async ({ target }) => {
  const button = target.closest?.("[data-act=share]");
  if (!button?.dataset.share) return;
  try {
    await share(button);
  } catch {
    announce("No link could be made; try again.");
  }
});
