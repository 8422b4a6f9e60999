// Which file of which server a path in an afs mount is.
import type { Fid } from '../../modes/afs/records.ts'
import { CliError } from '../exit.ts'
import { attributeOf } from './connection.ts'

export interface Located {
  readonly fid: Fid
  /** `host:port` of the file server that has its volume. */
  readonly server: string
}

export async function locate(path: string): Promise<Located> {
  const fid = parseFid(await attributeOf(path, 'fid'))
  if (fid === undefined) throw new CliError(`${path}: the mount says of it what this program does not understand`)
  return { fid, server: await attributeOf(path, 'server') }
}

/** `volume.vnode.unique`, decimal. */
export function parseFid(text: string): Fid | undefined {
  const [, volume, vnode, unique] = /^(\d{1,10})\.(\d{1,16})\.(\d{1,16})$/.exec(text) ?? []
  const fid = { volume: Number(volume), vnode: Number(vnode), unique: Number(unique) }
  return Object.values(fid).every(Number.isSafeInteger) && fid.volume < 2 ** 32 ? fid : undefined
}
