// Where the program of serving processes is.
import { fileURLToPath } from 'node:url'

export const DAEMON = fileURLToPath(new URL('../daemon.js', import.meta.url))
