import { expect, test } from 'vitest'
import { FileWrites, type FileWritesOptions } from '../../../../src/modes/nfs/file-writes.ts'
import { NfsNode } from '../../../../src/modes/nfs/nodes.ts'
import { WriteRoom } from '../../../../src/modes/nfs/write-room.ts'
import { authNone } from '../../../../src/rpc/onc/auth.ts'
import { Interruptions } from '../../../../src/vfs/interruption.ts'
import { settle, TestClock } from '../../rpc/test-clock.ts'

interface Asked {
  readonly name: string
  readonly args: { readonly stable?: string; readonly count: number }
  answer(): Promise<void>
}

/** The writes of a file whose server answers when the test says so, and calls stable whatever it is asked to. */
function stage() {
  const clock = new TestClock()
  const interruptions = new Interruptions({ clock })
  const calls: Asked[] = []
  const wcc = { before: undefined, after: undefined }
  const connection = {
    interruptions,
    repetitions: () => 0,
    call: ({ name }: { name: string }, args: Asked['args']) =>
      new Promise((resolve) => {
        const answer = () => {
          resolve({ status: 'NFS3_OK', wcc, count: args.count, committed: args.stable, verifier: Buffer.alloc(8) })
          return settle()
        }
        calls.push({ name: name.replace('NFS3.', ''), args, answer })
      }),
  }
  const caches = {
    begin: () => ({}),
    end() {},
    request: () => ({}),
    learn() {},
    size: () => undefined,
    dropPages() {},
    unfinished: { wrote() {} },
  }
  const file = new FileWrites(authNone, {
    node: new NfsNode(7, Buffer.from('handle'), 'handle'),
    connection,
    caches,
    room: new WriteRoom(clock, interruptions),
    writeBytes: 1024,
    maxUnderWay: 4,
    onIdle() {},
    onAppends() {},
  } as unknown as FileWritesOptions)
  const context = { uid: 0, gid: 0, pid: 0, signal: new AbortController().signal }
  const write = (offset: number) => file.write(context, { offset, data: Buffer.from('data'), append: false })
  /** The only call that is under way. */
  const only = (name: string): Asked => {
    expect(calls.map((call) => call.name)).toEqual([name])
    return calls.shift() as Asked
  }
  return { file, context, calls, write, only }
}

test('what a close has left to the server is committed at fsync, also by a COMMIT that is for other bytes', async () => {
  const { file, context, calls, write, only } = stage()
  write(0)
  const closed = file.flush(context, 1, 'stable')
  const stable = only('WRITE')
  expect(stable.args.stable).toBe('FILE_SYNC')
  await stable.answer()
  await closed
  write(5000)
  const synced = file.flush(context, 1, 'committed')
  await only('WRITE').answer()
  const whole = only('COMMIT')
  expect(whole.args).toMatchObject({ offset: 0, count: 0 })
  await whole.answer()
  await synced
  await file.flush(context, 1, 'committed')
  expect(calls).toEqual([])
  // Nothing else is promised: the bytes that are meant are enough.
  write(9000)
  const again = file.flush(context, 1, 'committed')
  await only('WRITE').answer()
  const commit = only('COMMIT')
  expect(commit.args).toMatchObject({ offset: 9000, count: 4 })
  await commit.answer()
  await again
})
