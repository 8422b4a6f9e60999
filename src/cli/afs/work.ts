// Long work on a server: what it is at goes to standard error, and Ctrl-C calls it off.
import { VOLSER } from '../../modes/afs/protocol-volumes.ts'
import type { WsClient } from '../../rpc/ws/index.ts'
import type { Output } from '../support/output.ts'
import { stopOnSignals } from '../support/signals.ts'
import { showSize } from './sizes.ts'

const LOOK_MS = 250
const STEPS: Readonly<Record<string, string>> = {
  clone: 'cloning',
  dump: 'sending it',
  busy: 'busy: clients wait',
  changes: 'sending what has changed since',
  commit: 'handing over',
  replace: 'putting it in place',
  replicas: 'removing replicas',
}

/** Runs `work` with the signal that Ctrl-C aborts. `volume` names what progress is shown of. */
export async function withProgress<T>(
  { server, volume, output }: { readonly server: WsClient; readonly volume: string; readonly output: Output },
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const aborting = new AbortController()
  const abort = (): void => aborting.abort()
  const stop = stopOnSignals({ stop: abort, kill: abort }, output, 'Calling it off …')
  const looking = look(server, volume)
  try {
    return await work(aborting.signal)
  } finally {
    looking.end()
    stop.dispose()
  }
}

function look(server: WsClient, volume: string): { end(): void } {
  let last = ''
  const timer = setInterval(() => {
    server.call(VOLSER.procedures.Transactions, undefined, { timeoutMs: 10 * LOOK_MS }).then(
      ({ transactions }) => {
        const one = transactions.find((transaction) => transaction.volume === volume)
        if (one === undefined) return
        const doing = STEPS[one.step] ?? one.step
        const line = `${volume}: ${doing}${one.bytes > 0 ? ` (${showSize(one.bytes)} sent)` : ''}`
        if (line !== last) process.stderr.write(`${line}\n`)
        last = line
      },
      () => {},
    )
  }, LOOK_MS)
  return { end: () => clearInterval(timer) }
}
