// Times as people say them, the exact one in the reader's own zone on hover.

import { ago } from "./words.js";

const exact = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** Writes one <time datetime> element; `relative` false leaves the server's words and adds the title.
 *  With `data-exact` the exact time is what is shown. */
export function localise(time, relative = true) {
  const at = Date.parse(time.dateTime);
  if (Number.isNaN(at)) return;
  const title = exact.format(at);
  if (time.title !== title) time.title = title;
  if ("exact" in time.dataset) time.textContent = title;
  else if (relative && time.textContent !== ago(at)) time.textContent = ago(at);
}

export function localiseAll(root = document, relative = true) {
  for (const time of root.querySelectorAll("time[datetime]")) localise(time, relative);
}
