// Makes a live tree like a new one by changing only what differs, so that focus, selection,
// scroll and a screen reader's place survive a refresh.
//
// Children are matched by `data-key` or `id`, others by position and tag. An element with
// `data-keep` is left as it is; whether a <details> is open is the reader's.

const keyOf = (node) => node.dataset?.key ?? (node.id || undefined);

export function morph(live, fresh) {
  if (live.nodeType !== Node.ELEMENT_NODE) {
    if (live.nodeValue !== fresh.nodeValue) live.nodeValue = fresh.nodeValue;
    return;
  }
  if (live.hasAttribute("data-keep")) return;
  syncAttributes(live, fresh);
  morphChildren(live, fresh);
}

function syncAttributes(live, fresh) {
  const isTheReaders = (name) => name === "open" && live.nodeName === "DETAILS";
  for (const { name } of [...live.attributes]) {
    if (!fresh.hasAttribute(name) && !isTheReaders(name)) live.removeAttribute(name);
  }
  for (const { name, value } of fresh.attributes) {
    if (live.getAttribute(name) !== value && !isTheReaders(name)) live.setAttribute(name, value);
  }
}

export function morphChildren(live, fresh) {
  const wanted = [...fresh.childNodes];
  const kept = new Set(wanted.map(keyOf));
  const keyed = new Map([...live.childNodes].filter(keyOf).map((child) => [keyOf(child), child]));
  let at = live.firstChild;
  const drop = () => {
    const gone = at;
    at = at.nextSibling;
    gone.remove();
  };
  for (const want of wanted) {
    // Whatever is on the way and not wanted goes first: a node that is moved loses the focus.
    while (at && want.nodeType === Node.ELEMENT_NODE && isGone(at, kept)) drop();
    const key = keyOf(want);
    const match = key ? keyed.get(key) : at;
    if (!match || !alike(match, want)) {
      live.insertBefore(want, at);
      continue;
    }
    if (match === at) at = at.nextSibling;
    else live.insertBefore(match, at);
    morph(match, want);
  }
  while (at) drop();
}

const isGone = (node, kept) => node.nodeType !== Node.ELEMENT_NODE || (keyOf(node) !== undefined && !kept.has(keyOf(node)));
const alike = (a, b) => a.nodeType === b.nodeType && a.nodeName === b.nodeName && keyOf(a) === keyOf(b);
