// How `proteus switch` asks the `up` that watches over a lab in the foreground: a socket in the data directory, which is
// for its owner only; a line of JSON each way, and warnings in between. Who hangs up, or says so, has changed its mind.
import { chmodSync, closeSync, openSync, rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { CliError, errorCode } from '../serving/errors.ts'
import { isLayout, isMountSettings } from './lab-check.ts'
import type { LabPlan, Urls } from './lab-plan.ts'
import type { LabProcess } from './lab-state.ts'

const SOCKET = 'lab.sock'
/** Longest line, in characters. Directories and options fit, and what more there is would be somebody else's. */
const MAX_LINE = 256 * 1024

export interface SwitchRequest {
  readonly plan: Omit<LabPlan, 'data'>
  readonly force: boolean
}

/** How the lab is afterwards. */
export interface Switched {
  readonly urls: Urls
  /** The mode of each mount. */
  readonly modes: Readonly<Record<string, string>>
  readonly processes: readonly LabProcess[]
  readonly limitations: readonly string[]
}

type ToOwner = ({ readonly type: 'switch' } & SwitchRequest) | { readonly type: 'cancel' }

type ToAsker =
  | ({ readonly type: 'done' } & Switched)
  | { readonly type: 'failed'; readonly message: string }
  | { readonly type: 'warning'; readonly text: string }

export interface SwitchContext {
  /** Aborted when nobody wants the switch any more. */
  readonly signal: AbortSignal
  warn(text: string): void
}

export type SwitchHandler = (request: SwitchRequest, context: SwitchContext) => Promise<Switched>

/** Answers requests until what it returns is called. The lab on `data` is the caller's. */
export async function listenForSwitch(data: string, handler: SwitchHandler): Promise<() => void> {
  rmSync(join(data, SOCKET), { force: true })
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket))
    answer(socket, handler)
  })
  const directory = openSync(data, 'r')
  try {
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(socketIn(directory), resolve))
    chmodSync(join(data, SOCKET), 0o600)
  } catch (error) {
    closeSync(directory)
    throw error
  }
  // It is no reason to go on.
  server.unref()
  let open = true
  return () => {
    if (!open) return
    open = false
    // It is removed by the name under which it was made, while that name still is one.
    server.close(() => closeSync(directory))
    for (const socket of sockets) socket.unref().end()
    rmSync(join(data, SOCKET), { force: true })
  }
}

/** Rejects with the owner's message for people. Aborting `signal` tells the owner, whose answer is still waited for. */
export async function askForSwitch(data: string, request: SwitchRequest, context: SwitchContext): Promise<Switched> {
  const socket = await dial(data)
  const cancel = (): void => send(socket, { type: 'cancel' })
  try {
    return await new Promise((resolve, reject) => {
      socket.on('error', () => undefined)
      socket.on('close', () => reject(new CliError('the lab ended before it had answered: see `proteus status`')))
      readLines(socket, (line) => {
        const message = JSON.parse(line) as ToAsker
        if (message.type === 'warning') context.warn(message.text)
        else if (message.type === 'failed') reject(new CliError(message.message))
        else resolve(message)
      })
      send(socket, { type: 'switch', ...request })
      if (context.signal.aborted) cancel()
      context.signal.addEventListener('abort', cancel)
    })
  } finally {
    context.signal.removeEventListener('abort', cancel)
    socket.destroy()
  }
}

/** A name of at most 108 bytes, as long as the directory's own may be (unix(7)). */
const socketIn = (directory: number): string => `/proc/self/fd/${directory}/${SOCKET}`

async function dial(data: string): Promise<Socket> {
  const directory = openSync(data, 'r')
  try {
    return await new Promise((resolve, reject) => {
      const socket = connect(socketIn(directory), () => resolve(socket.off('error', reject)))
      socket.once('error', reject)
    })
  } catch (error) {
    const code = errorCode(error)
    if (code !== 'ENOENT' && code !== 'ECONNREFUSED') throw error
    throw new CliError('the `proteus up` of this lab takes no requests yet, or no more: try again', { cause: error })
  } finally {
    closeSync(directory)
  }
}

function answer(socket: Socket, handler: SwitchHandler): void {
  const stop = new AbortController()
  const warn = (text: string): void => send(socket, { type: 'warning', text })
  let asked = false
  socket.on('error', () => undefined).on('close', () => stop.abort())
  readLines(socket, (line) => {
    const message = parseRequest(line)
    if (message === undefined || (message.type === 'switch' && asked)) return socket.destroy()
    if (message.type === 'cancel') return stop.abort()
    asked = true
    handler(message, { signal: stop.signal, warn }).then(
      (switched) => socket.end(lineOf({ type: 'done', ...switched })),
      (error) =>
        socket.end(lineOf({ type: 'failed', message: error instanceof Error ? error.message : String(error) })),
    )
  })
}

function parseRequest(line: string): ToOwner | undefined {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch {
    return undefined
  }
  if (typeof value !== 'object' || value === null || !('type' in value)) return undefined
  if (value.type === 'cancel') return { type: 'cancel' }
  return value.type === 'switch' && isRequest(value) ? { ...value, type: 'switch' } : undefined
}

function isRequest(value: object): value is SwitchRequest {
  const { plan, force } = value as Partial<SwitchRequest>
  return typeof force === 'boolean' && isMountSettings(plan) && isLayout(plan)
}

function readLines(socket: Socket, take: (line: string) => void): void {
  let text = ''
  socket.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk
    if (text.length > MAX_LINE) return socket.destroy()
    const lines = text.split('\n')
    text = lines.pop() ?? ''
    for (const line of lines) take(line)
  })
}

const lineOf = (message: ToAsker | ToOwner): string => `${JSON.stringify(message)}\n`

function send(socket: Socket, message: ToAsker | ToOwner): void {
  if (socket.writable) socket.write(lineOf(message))
}
