// Says things to screen readers, politely, one after the other.

const region = document.getElementById("announcer");
let said = [];
let timer = 0;

/** Gathers what is said within half a second: ten files done at once are one sentence. */
export function announce(text) {
  if (!said.includes(text)) said.push(text);
  clearTimeout(timer);
  timer = setTimeout(() => {
    region.textContent = said.length > 3 ? `${said.slice(-3).join(". ")}, and ${said.length - 3} more.` : said.join(". ");
    said = [];
  }, 500);
}
