// Where the program of serving processes is.
import { fileURLToPath } from 'node:url'

/** That of the command line itself. */
export const MAIN = fileURLToPath(new URL('../main.js', import.meta.url))

export const DAEMON = fileURLToPath(new URL('../daemon.js', import.meta.url))
