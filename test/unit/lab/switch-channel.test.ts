import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { CliError } from '../../../src/cli/exit.ts'
import {
  askForSwitch,
  listenForSwitch,
  type SwitchHandler,
  type SwitchRequest,
} from '../../../src/lab/switch-channel.ts'

let root: string
let data: string
let close: () => void
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'proteus-channel-'))
  // Longer than the address of a socket may be.
  data = join(root, 'long'.repeat(25), 'long'.repeat(25))
  mkdirSync(data, { recursive: true })
  close = () => undefined
})
afterEach(() => {
  close()
  rmSync(root, { recursive: true })
})

const REQUEST: SwitchRequest = {
  plan: {
    mounts: [
      { target: '/m/a', mode: 'local' },
      { target: '/m/b', mode: 'nfs' },
    ],
    protocols: ['nfs'],
    driver: 'kernel',
    options: { ro: true },
    modeOptions: { nfs: [{ name: 'actimeo', value: '1' }] },
  },
  force: false,
}
const DONE = { urls: { nfs: 'nfs://127.0.0.1:1/' }, modes: { '/m/a': 'local' }, processes: [], limitations: ['none'] }

const listen = async (handler: SwitchHandler): Promise<void> => {
  close = await listenForSwitch(data, handler)
}

/** The socket under a name that is short enough. */
function shortName(): string {
  const link = join(root, 'd')
  if (!existsSync(link)) symlinkSync(data, link)
  return join(link, 'lab.sock')
}

test('a request arrives whole, and warnings and the answer come back', async () => {
  const requests: SwitchRequest[] = []
  await listen(async (request, { warn }) => {
    requests.push(request)
    warn('careful')
    return DONE
  })
  const warnings: string[] = []
  const context = { signal: new AbortController().signal, warn: (text: string) => warnings.push(text) }
  expect(await askForSwitch(data, REQUEST, context)).toMatchObject(DONE)
  expect(requests).toMatchObject([REQUEST])
  expect(warnings).toEqual(['careful'])
  expect(statSync(join(data, 'lab.sock')).mode & 0o777).toBe(0o600)
  close()
  expect(existsSync(join(data, 'lab.sock'))).toBe(false)
  await expect(askForSwitch(data, REQUEST, context)).rejects.toThrow(/takes no requests/)
})

test('a failure comes back as it is; who changes its mind still hears the end', async () => {
  await listen(async (_, { signal }) => {
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()))
    throw new CliError('interrupted')
  })
  const aborting = new AbortController()
  const asked = askForSwitch(data, REQUEST, { signal: aborting.signal, warn: () => undefined })
  aborting.abort()
  await expect(asked).rejects.toThrow(new CliError('interrupted'))
})

test('who hangs up has changed its mind', async () => {
  let abandoned = (): void => undefined
  const over = new Promise<void>((resolve) => {
    abandoned = resolve
  })
  await listen(async (_, { signal }) => {
    signal.addEventListener('abort', abandoned)
    return new Promise(() => undefined)
  })
  const socket = connect(shortName())
  socket.write(`${JSON.stringify({ type: 'switch', ...REQUEST })}\n`, () => socket.destroy())
  await over
})

test('nonsense is hung up on, and the next one is heard', async () => {
  let heard = 0
  await listen(async () => {
    heard++
    return DONE
  })
  const { plan } = REQUEST
  const nonsense = [
    'x'.repeat(1_000_000),
    '{\n',
    'null\n',
    '{"type":"switch"}\n',
    `${JSON.stringify({ type: 'switch', force: 1, plan })}\n`,
    `${JSON.stringify({ type: 'switch', force: true, plan: { ...plan, mounts: [{ target: 'relative', mode: 'nfs' }] } })}\n`,
    `${JSON.stringify({ type: 'switch', force: true, plan: { ...plan, driver: 'other' } })}\n`,
    `${JSON.stringify({ type: 'switch', force: true, plan: { ...plan, protocols: undefined } })}\n`,
    `${JSON.stringify({ type: 'switch', force: true, plan: { ...plan, mounts: [{ target: '/m/a', mode: '../x' }] } })}\n`,
  ]
  for (const text of nonsense) {
    const socket = connect(shortName())
    socket.on('error', () => undefined)
    const closed = new Promise((resolve) => socket.on('close', resolve))
    socket.write(text)
    await closed
  }
  expect(heard).toBe(0)
  const context = { signal: new AbortController().signal, warn: () => undefined }
  expect(await askForSwitch(data, REQUEST, context)).toMatchObject(DONE)
})
