// Ctrl-C and its kin for commands that stay: the first one stops in peace, the second one at once.
import { EXIT } from '../exit.ts'
import type { Output } from './output.ts'

export interface Stoppable {
  /** In peace; the command goes on when everything has ended. */
  stop(): unknown
  /** At once. */
  kill(): void
}

export interface StopSignals {
  /** A signal has come. */
  readonly requested: boolean
  /** What was asked for is done: a signal that comes now changes nothing any more. */
  ignore(): void
  dispose(): void
}

/** `notice` is printed when the first one comes. */
export function stopOnSignals(
  target: Stoppable,
  output: Output,
  notice = 'Stopping … (once more to force)',
): StopSignals {
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const
  let requested = false
  let ignored = false
  const onSignal = (): void => {
    if (ignored) return
    if (requested) {
      target.kill()
      process.exitCode = EXIT.failed
      return
    }
    requested = true
    output.line(`\n${notice}`)
    target.stop()
  }
  for (const name of names) process.on(name, onSignal)
  return {
    get requested() {
      return requested
    },
    ignore() {
      ignored = true
    },
    dispose() {
      for (const name of names) process.off(name, onSignal)
    },
  }
}
