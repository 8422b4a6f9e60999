// The words that scenarios are written with. Each step says why: one sentence of semantics.
//
//   A.run('echo old > note', done, 'close sends the bytes to the server')
//   B.start('reader', 'exec 3< note; echo open; …', 'an open file, not a name')
//   job('reader').prints(prints('open'), '…')
//   server.crash('kill -9: no goodbye to anybody')
import type { SpokenErrno } from './errno-messages.ts'
import { type Expectation, NEW, OLD } from './expectation.ts'
import type { MountName, PartName, Scenario, Step, TimelyStep } from './scenario.ts'

/** A command that is expected to wait is looked at after this time unless the scenario says otherwise. */
const WAITS_SECONDS = 1

const toMs = (seconds: number): number => seconds * 1000

function mount(on: MountName) {
  return {
    ...part(on),
    /** A shell command in the mount, to its end. `$A` and `$B` are the mounts, and there is `proteus`. */
    run: (command: string, expect: Expectation, why: string): TimelyStep => ({ do: 'run', on, command, expect, why }),
    /** The same command until it shows what is expected: for what comes with time. */
    until: (command: string, expect: Expectation, why: string): Step => ({ do: 'until', on, command, expect, why }),
    /** A shell command in the background; `job(name)` is its handle. */
    start: (name: string, command: string, why: string): Step => ({ do: 'start', on, job: name, command, why }),
    /** What `.proteus/network` takes: `up`, `down`, `latency=50ms,jitter=5ms`. */
    network: (setting: string, why: string): Step => ({ do: 'network', on, setting, why }),
  }
}

function part(name: PartName) {
  return {
    /** kill -9 of the process behind it. */
    crash: (why: string): Step => ({ do: 'crash', part: name, why }),
    startAgain: (why: string): Step => ({ do: 'startAgain', part: name, why }),
  }
}

export const A = mount('A')
export const B = mount('B')
export const server = part('server')

/** In an option of one more server: `host:port` of the first. */
export const FIRST = '$FIRST'

/**
 * One more server, told this by options of `proteus serve`. In commands `$SECOND` is the `host:port` of `second`, and `$FIRST`
 * that of the lab's own.
 */
export const serve = (name: string, options: Readonly<Record<string, string>>, why: string): Step => ({
  do: 'serve',
  server: name,
  options,
  why,
})

/** A command that was started in the background. */
export const job = (name: string) => ({
  /** Waits until what it has printed so far is as expected. */
  prints: (expect: Expectation, why: string): TimelyStep => ({ do: 'output', job: name, expect, why }),
  /** It has not come to its end after a while. */
  waits: (why: string, afterSeconds = WAITS_SECONDS): Step => ({
    do: 'waits',
    job: name,
    afterMs: toMs(afterSeconds),
    why,
  }),
  /** Waits for its end. */
  ends: (expect: Expectation, why: string): Step => ({ do: 'end', job: name, expect, why }),
  /** Presses Enter: for a command that reads a line (`read _`, `input()`) before it goes on. */
  enter: (why: string): Step => ({ do: 'enter', job: name, why }),
  /** Ctrl-C, and waits for its end. */
  interrupt: (expect: Expectation, why: string): Step => ({ do: 'interrupt', job: name, expect, why }),
})

/**
 * A step that looks at what the mode promises for so long after it was asked: a value that is stale until a time-out is
 * over. On a machine that is too slow to look in time the scenario is played again.
 */
export const within = (seconds: number, step: TimelyStep): Step => ({ ...step, withinSeconds: seconds })

/** Nothing happens for a time: for a time-out that has to pass, never for something to be ready. */
export const pause = (seconds: number, why: string): Step => ({ do: 'pause', forMs: toMs(seconds), why })

export const done: Expectation = { kind: 'done' }
/** Exactly this text, without its last newline. */
export const prints = (text: string, name?: string): Expectation => ({
  kind: 'prints',
  text,
  ...(name === undefined ? {} : { name }),
})
export const matches = (pattern: RegExp, name: string): Expectation => ({ kind: 'matches', pattern, name })
/** It fails; with this error if one is named. */
export const fails = (errno?: SpokenErrno): Expectation => ({
  kind: 'fails',
  ...(errno === undefined ? {} : { errno }),
})
export const interrupted: Expectation = { kind: 'interrupted' }
/** For what the semantics leave open. */
export const either = (...of: Expectation[]): Expectation => ({ kind: 'either', of })

/** By convention a file's content is `old` before and `new` after the change that a scenario is about. */
export const oldValue = prints(OLD, 'the old value')
export const newValue = prints(NEW, 'the new value')

export const scenario = (definition: Scenario): Scenario => definition
