// The modes there are. Each is loaded when it is used: `proteus --help` does not open SQLite.
import type { Mode } from '../modes/mode.ts'
import { usageError } from './exit.ts'

const MODES: Readonly<Record<string, () => Promise<Mode>>> = {
  local: async () => (await import('../modes/local/index.ts')).localMode,
  nfs: async () => (await import('../modes/nfs/index.ts')).nfsMode,
  afs: async () => (await import('../modes/afs/index.ts')).afsMode,
}

export const modeNames: readonly string[] = Object.keys(MODES)

export async function loadMode(name: string): Promise<Mode> {
  const load = Object.hasOwn(MODES, name) ? MODES[name] : undefined
  if (load === undefined) throw usageError(`there is no mode ${JSON.stringify(name)}; there is ${modeNames.join(', ')}`)
  return load()
}
