// The Python workers beside this file: what needs a tight loop, mmap, or a process of its own.
import { fileURLToPath } from 'node:url'
import { type Running, run, start } from './run.ts'

const path = (name: string): string => fileURLToPath(new URL(`./${name}`, import.meta.url))

/** Runs a worker to its end; it prints JSON. */
export async function script(name: string, args: readonly string[], timeoutMs = 50_000): Promise<unknown> {
  return JSON.parse(await run('python3', [path(name), ...args], { timeoutMs }))
}

/** Starts a worker that will not end well. */
export function startScript(name: string, args: readonly string[], timeoutMs = 50_000): Running {
  return start('python3', [path(name), ...args], { timeoutMs })
}

/** Runs a worker that compares a file system with a model; fails with what it found and the operations before it. */
export async function agrees(name: string, args: readonly (string | number)[]): Promise<void> {
  const found = (await script(name, args.map(String))) as { ok: boolean; wrong?: unknown; last?: string[] }
  if (!found.ok) throw new Error(`${[name, ...args].join(' ')}\n${found.wrong}\nafter\n${found.last?.join('\n')}`)
}
