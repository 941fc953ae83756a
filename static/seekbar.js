// The bar of a player on which one looks for a moment: by pointer, finger or key. Above it the
// picture of the storyboard for that moment, and the time. A slider to assistive technology.

const STEPS_S = { ArrowRight: 5, ArrowUp: 5, ArrowLeft: -5, ArrowDown: -5, PageUp: 60, PageDown: -60 };
const KEYS_SHOW_MS = 1500; // how long the picture stays after a key

/** 3725 → "1:02:05". */
export function clock(s) {
  const parts = [Math.floor(s / 3600), Math.floor(s / 60) % 60, Math.floor(s) % 60];
  if (!parts[0]) parts.shift();
  return parts.map((part, i) => (i ? String(part).padStart(2, "0") : part)).join(":");
}

/** 3725 → "1 hour 2 minutes 5 seconds", to be spoken. */
function inWords(s) {
  const parts = [[Math.floor(s / 3600), "hour"], [Math.floor(s / 60) % 60, "minute"], [Math.floor(s) % 60, "second"]];
  const told = parts.filter(([n]) => n).map(([n, unit]) => `${n} ${unit}${n === 1 ? "" : "s"}`);
  return told.join(" ") || "0 seconds";
}

/**
 * Makes `bar` one for `video`. `boardOf()` resolves to its storyboard (storyboard.js) or to null;
 * it is asked when somebody first looks for something.
 */
export function seekbar(bar, video, boardOf) {
  const [played, thumb, tile] = [".seek-played", ".seek-thumb", ".seek-tile"].map((one) => bar.querySelector(one));
  const [picture, time] = tile.children;
  let board = null;
  let isAsked = false;
  let pointed = 0; // the moment that the tile shows
  let dragged = null; // the moment under the finger, while it is down
  let hiding = 0;

  const length = () => (Number.isFinite(video.duration) ? video.duration : 0);

  function draw() {
    const at = dragged ?? video.currentTime;
    const share = length() ? at / length() : 0;
    played.style.transform = `scaleX(${share})`;
    thumb.style.insetInlineStart = `${share * 100}%`;
    bar.setAttribute("aria-valuemax", Math.round(length()));
    bar.setAttribute("aria-valuenow", Math.round(at));
    bar.setAttribute("aria-valuetext", `${inWords(at)} of ${inWords(length())}`);
  }

  async function ask() {
    if (isAsked) return;
    isAsked = true;
    board = await boardOf().catch(() => null); // without it there is still the time
    if (!tile.hidden) point(pointed);
  }

  /** The picture and the time of the moment `at`, above its place on the bar. */
  function point(at) {
    pointed = at;
    const part = board?.at(at);
    picture.hidden = !part;
    if (part) {
      Object.assign(picture.style, {
        width: `${part.width}px`, height: `${part.height}px`,
        backgroundImage: `url("${part.url}")`, backgroundPosition: `-${part.x}px -${part.y}px`,
      });
    }
    time.textContent = clock(at);
    tile.hidden = false;
    const half = tile.offsetWidth / 2; // within the bar, at its ends too
    const x = (at / (length() || 1)) * bar.clientWidth;
    tile.style.left = `${Math.max(half, Math.min(bar.clientWidth - half, x))}px`;
  }

  const hide = () => { tile.hidden = true; };
  function momentAt({ clientX }) {
    const { left, width } = bar.getBoundingClientRect();
    return Math.max(0, Math.min(1, (clientX - left) / width)) * length();
  }

  bar.addEventListener("pointerenter", ask);
  bar.addEventListener("pointermove", (event) => {
    clearTimeout(hiding);
    const at = momentAt(event);
    if (dragged !== null) {
      dragged = at;
      draw();
    }
    point(at);
  });
  bar.addEventListener("pointerleave", () => { if (dragged === null) hide(); });
  bar.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    ask();
    bar.setPointerCapture(event.pointerId);
    dragged = momentAt(event);
    draw();
    point(dragged);
  });
  bar.addEventListener("pointerup", (event) => {
    if (dragged === null) return;
    video.currentTime = dragged;
    dragged = null;
    if (event.pointerType !== "mouse") hide();
  });
  bar.addEventListener("pointercancel", () => { dragged = null; hide(); draw(); });
  bar.addEventListener("focus", ask);
  bar.addEventListener("blur", hide);
  bar.addEventListener("keydown", (event) => {
    const at = { Home: 0, End: length() }[event.key] ?? video.currentTime + STEPS_S[event.key];
    if (Number.isNaN(at)) return;
    event.preventDefault();
    clearTimeout(hiding);
    video.currentTime = Math.max(0, Math.min(length(), at));
    draw();
    point(video.currentTime);
    hiding = setTimeout(hide, KEYS_SHOW_MS);
  });
  for (const kind of ["timeupdate", "durationchange", "seeking"]) video.addEventListener(kind, draw);
  draw();
}
