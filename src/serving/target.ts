// The directories that are mounted on: making them ready, and taking mounts off them.
import { randomUUID } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { addon } from '../host/addon.ts'
import { runChild } from './child-io.ts'
import { makeDirectory } from './directories.ts'
import { CliError, errorCode, usageError } from './errors.ts'
import { isFuse, mountedOn, readMountTable } from './mount-table.ts'
import { usersOf } from './open-files.ts'
import { shown } from './shown.ts'

/** How long a mount has to show that it is there, in milliseconds. */
export const ANSWER_MS = 3000

export type TargetState = 'free' | 'stale' | 'mounted' | 'silent'

/** What is on `target`. A stale mount is one whose server has died: `Transport endpoint is not connected`. */
export async function targetState(target: string): Promise<TargetState> {
  const entry = mountedOn(target, readMountTable())
  if (entry === undefined) return 'free'
  if (!isFuse(entry)) return 'mounted'
  // A name that nobody has asked for: what the kernel has cached it would answer for a dead server, too.
  const unknown = `${target}/.proteus/${randomUUID()}`
  const probe = await runChild('stat', ['-c', '%i', '--', unknown], ANSWER_MS)
  if (probe.status === 'timeout') return 'silent'
  return GONE.some((message) => probe.stderr.includes(message)) ? 'stale' : 'mounted'
}

/** ENOTCONN, and ECONNABORTED for a question that was under way when the server died. */
const GONE = ['Transport endpoint is not connected', 'Software caused connection abort']

export interface PreparedTarget {
  readonly cleaned: boolean
  /** Names in the directory itself. */
  readonly hidden: readonly string[]
}

/**
 * Makes `target` ready to be mounted on: takes stale mounts off, creates it if it is missing. Refuses a directory that
 * is mounted on. What is in it the mount would hide: that is refused, too, unless it `mayHide`. Returns whether a stale
 * mount was cleaned, and what will be hidden.
 */
export async function prepareTarget(target: string, { mayHide = false } = {}): Promise<PreparedTarget> {
  const name = shown(target)
  let cleaned = false
  let state = await targetState(target)
  // Stale mounts may lie on each other.
  for (; state === 'stale'; state = await targetState(target)) {
    await unmount(target, { lazy: true })
    cleaned = true
  }
  if (state === 'silent') {
    throw new CliError(`${name} is a mount that does not answer: \`proteus unmount --force ${name}\` takes it away`)
  }
  if (state === 'mounted') {
    throw new CliError(`${name} is mounted already: choose another directory, or \`proteus unmount ${name}\` first`)
  }
  makeDirectory(target)
  const hidden = readdirSync(target)
  if (hidden.length > 0 && !mayHide) {
    throw new CliError(`${name} is not empty, and a mount would hide what is in it: choose an empty or new directory`)
  }
  return { cleaned, hidden }
}

/** Refuses sets of directories that would lie on or in each other. Paths are absolute. */
export function checkLayout(targets: readonly string[], data: string | undefined): void {
  const inside = (path: string, directory: string): boolean => path === directory || path.startsWith(`${directory}/`)
  for (const target of targets) {
    if (data !== undefined && inside(data, target)) {
      throw usageError(`the data directory ${shown(data)} lies in the mount ${shown(target)}, which is to show it`)
    }
    const other = targets.find((path, i) => i !== targets.indexOf(target) && inside(path, target))
    if (other !== undefined) throw usageError(`the mounts ${shown(target)} and ${shown(other)} lie in each other`)
  }
}

/**
 * Takes the uppermost mount off `target`, as root directly and otherwise through fusermount3. `lazy`: even if it is in
 * use or does not answer; programs keep what they have open. Throws EBUSY if it is in use.
 */
export async function unmount(target: string, { lazy = false } = {}): Promise<void> {
  if (process.geteuid?.() === 0) return addon().unmount(target, lazy)
  const result = await runChild('fusermount3', ['-u', ...(lazy ? ['-z'] : []), '--', target], ANSWER_MS)
  if (result.status === 'ok') return
  const message = result.stderr.trim() || 'fusermount3 failed'
  throw Object.assign(new CliError(message), message.includes('busy') ? { code: 'EBUSY' } : {})
}

/** What a program that has just ended had open may still be on its way out: how often, and after how many ms, to look. */
const BUSY_TRIES = 10
const BUSY_MS = 50

/**
 * Takes a mount that nobody uses off `target`. Fails with a message for people, and has changed nothing, if it is in use
 * or does not answer.
 */
export async function unmountUnused(target: string): Promise<void> {
  const isGone = (): boolean => mountedOn(target, readMountTable()) === undefined
  for (let tries = 1; ; tries++) {
    try {
      const patience = delay(ANSWER_MS, 'silent' as const, { ref: false })
      const outcome = await Promise.race([unmount(target), patience])
      if (outcome !== 'silent' || isGone()) return
    } catch (error) {
      if (isGone()) return
      if (errorCode(error) !== 'EBUSY') throw error
      if (tries < BUSY_TRIES) {
        await delay(BUSY_MS)
        continue
      }
      const users = usersOf(target)
      throw new CliError(`${shown(target)} is in use${users.length > 0 ? ` by ${users.join(', ')}` : ''}`, {
        cause: error,
      })
    }
    throw new CliError(`${shown(target)} does not answer`)
  }
}

/**
 * Takes stale mounts off `targets`: what dead servers leave behind. A live mount there is by now somebody else's.
 * Returns the directories that could not be cleaned.
 */
export async function cleanTargets(targets: readonly string[]): Promise<string[]> {
  const left: string[] = []
  for (const target of targets) {
    try {
      while ((await targetState(target)) === 'stale') await unmount(target, { lazy: true })
    } catch {
      left.push(target)
    }
  }
  return left
}
