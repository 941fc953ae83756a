// The peer of the upload benchmark: @tus/server with its file store, as its README shows.
//   node tus_server.mjs FOLDER PORT, in a folder whose node_modules has the packages
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'

const require = createRequire(process.cwd() + '/')
const { Server } = await import(pathToFileURL(require.resolve('@tus/server')))
const { FileStore } = await import(pathToFileURL(require.resolve('@tus/file-store')))

const [folder, port] = process.argv.slice(2)
new Server({ path: '/files', datastore: new FileStore({ directory: folder }) }).listen({
  host: '127.0.0.1',
  port: Number(port),
})
