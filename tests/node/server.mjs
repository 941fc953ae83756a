// A foreign tus server, @tus/server with files in a folder: node server.mjs FOLDER MAX_BYTES EXPIRY_MS
import { FileStore } from "@tus/file-store";
import { Server } from "@tus/server";

const [directory, maxSize, expiry] = process.argv.slice(2);
const server = new Server({
  path: "/files",
  relativeLocation: true,
  maxSize: Number(maxSize),
  datastore: new FileStore({ directory, expirationPeriodInMilliseconds: Number(expiry) }),
});
const listening = server.listen({ host: "127.0.0.1", port: 0 }, () => {
  console.log(`listens on http://127.0.0.1:${listening.address().port}`);
});
