// A video with a bar of our own, because the browser's shows no storyboard.

import { clock, seekbar } from "./seekbar.js";
import { storyboard } from "./storyboard.js";

const template = document.getElementById("player-template");

function face(button, glyph, word) {
  const use = button.querySelector("use");
  use.setAttribute("href", use.getAttribute("href").replace(/#.*/, `#${glyph}`));
  button.setAttribute("aria-label", word);
  button.title = word;
}

/** See viewer.js. */
export function player(files, name) {
  const element = template.content.firstElementChild.cloneNode(true);
  const video = element.querySelector("video");
  const file = files.find((f) => f.type.startsWith("video/"));
  const poster = files.find((f) => f.name.startsWith("poster")) ?? files.find((f) => f.type.startsWith("image/"));
  video.setAttribute("aria-label", name);
  if (file.width) Object.assign(video, { width: file.width, height: file.height });
  if (poster) video.poster = poster.url;
  Object.assign(video, { autoplay: true, src: file.url });
  const acts = { play: () => toggle(video), mute: () => { video.muted = !video.muted; }, full: () => fill(element) };
  for (const [act, perform] of Object.entries(acts)) button(act).addEventListener("click", perform);
  video.addEventListener("click", acts.play);
  video.addEventListener("error", () => { element.querySelector(".player-fault").hidden = false; });

  function button(act) { return element.querySelector(`[data-play="${act}"]`); }
  const tell = () => face(button("play"), video.paused ? "play" : "pause-bare", video.paused ? "Play" : "Pause");
  for (const kind of ["play", "pause", "ended"]) video.addEventListener(kind, tell);
  video.addEventListener("volumechange", () => face(button("mute"), video.muted ? "muted" : "sound", video.muted ? "Sound on" : "Sound off"));
  document.fullscreenEnabled || button("full").remove();

  const time = element.querySelector(".player-time");
  const count = () => { time.textContent = `${clock(video.currentTime)} / ${clock(video.duration || 0)}`; };
  for (const kind of ["timeupdate", "durationchange"]) video.addEventListener(kind, count);
  seekbar(element.querySelector(".seek"), video, () => storyboard(files));
  return { element, keys: (key) => key === " " && !element.contains(document.activeElement) && (acts.play(), true) };
}

function toggle(video) {
  if (video.paused) video.play().catch(() => {}); // the event "error" tells
  else video.pause();
}

function fill(element) {
  if (document.fullscreenElement) document.exitFullscreen();
  else element.requestFullscreen();
}
