// sharp (libvips) making the same three WebP pictures: the contestant of bench.images.
// `chained` makes each from the one before, as ours does; else each is made from the file, as
// sharp's documentation has it. Run in the folder where it is installed.
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import path from "node:path";

const sharp = createRequire(path.join(process.cwd(), "x.js"))("sharp");
sharp.cache(false);
const EDGES = [["web-2048", 2048], ["web-1280", 1280], ["thumbnail", 320]];

async function each(input, output, quality) {
  for (const [name, edge] of EDGES) {
    await sharp(input).rotate().resize(edge, edge, { fit: "inside", withoutEnlargement: true })
      .webp({ quality }).toFile(path.join(output, `${name}.webp`));
  }
}

async function chained(input, output, quality) {
  let source = sharp(input).rotate();
  for (const [name, edge] of EDGES) {
    const { data, info } = await source
      .resize(edge, edge, { fit: "inside", withoutEnlargement: true })
      .removeAlpha().raw().toBuffer({ resolveWithObject: true });
    const raw = { width: info.width, height: info.height, channels: info.channels };
    await sharp(data, { raw }).webp({ quality }).toFile(path.join(output, `${name}.webp`));
    source = sharp(data, { raw });
  }
}

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  const began = performance.now(), cpu = process.cpuUsage();
  await (order.chained ? chained : each)(order.input, order.output, order.quality);
  const used = process.cpuUsage(cpu);
  const cpu_s = (used.user + used.system) / 1e6;
  console.log(JSON.stringify({ wall_s: (performance.now() - began) / 1000, cpu_s }));
}
