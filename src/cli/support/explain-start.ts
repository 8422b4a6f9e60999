// A start that failed because something else has the volume: says what to stop first.

import { isProbablyOurs, readMountTable } from '../../serving/mount-table.ts'
import { CliError, describeError } from '../exit.ts'
import { readStatus } from './control-access.ts'
import { shown } from './output.ts'

/** The error, and where the directory of `url` is mounted already if it is; several mounts may show one server. */
export async function explainStart(error: unknown, url: string): Promise<unknown> {
  if (url.includes('://')) return error
  const users = await mountsOf(url)
  if (users.length === 0) return error
  const names = users.map((target) => shown(target))
  const message = `${describeError(error, false)}, mounted on ${names.join(', ')}: \`proteus unmount ${names[0]}\` first`
  return new CliError(message, { cause: error })
}

/** The mounts that show `url`, as far as they answer. */
export async function mountsOf(url: string): Promise<string[]> {
  const targets = new Set(
    readMountTable()
      .filter(isProbablyOurs)
      .map(({ target }) => target),
  )
  const has = async (target: string): Promise<string[]> => ((await readStatus(target)).url === url ? [target] : [])
  const found = await Promise.allSettled([...targets].map(has))
  return found.flatMap((result) => (result.status === 'fulfilled' ? result.value : []))
}
