// The small pictures of a video's storyboard: one sheet, and a track (WebVTT) that says which part
// of it is which moment (`#xywh=`). docs/presets/video.md says how they are made.

const CUE = /^([\d:.]+) --> ([\d:.]+).*\n.*#xywh=(\d+),(\d+),(\d+),(\d+)/gm;

/** "01:02:03.456" → seconds. */
const seconds = (clock) => clock.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);

/** What there is of one among the files: `at(s)` gives {url, x, y, width, height}; else null. */
export async function storyboard(files) {
  const [sheet, track] = ["storyboard.webp", "storyboard.vtt"].map((name) => files.find((f) => f.name === name));
  if (!sheet || !track) return null;
  const answer = await fetch(track.url);
  if (!answer.ok) return null;
  const text = (await answer.text()).replaceAll("\r\n", "\n");
  const tiles = [...text.matchAll(CUE)].map(([, from, to, x, y, width, height]) => (
    { from: seconds(from), to: seconds(to), x: Number(x), y: Number(y), width: Number(width), height: Number(height) }
  ));
  if (!tiles.length) return null;
  const at = (s) => ({ url: sheet.url, ...(tiles.find(({ to }) => s < to) ?? tiles.at(-1)) });
  return { at };
}
