// A tiny FUSE daemon, driven by native-daemon.ts: it speaks just enough of the protocol, by hand, to try the addon.
// Runs as a child process (a process must not touch its own mount) and is told what to do over IPC.
//
//   node native-daemon.mjs TARGET CONTENT direct|helper
//
// The root holds: `file` (served by replyFromFile from CONTENT), `backed` (passthrough to CONTENT, if mounted
// directly), `folder` (its reads fail with EISDIR), `late` (its LOOKUP is answered by a promise), `slow` (its LOOKUP
// waits for the command `answerSlow`), and names whose LOOKUP misbehaves: `throws`, `long`, `closes`.
import { closeSync, fstatSync, openSync } from 'node:fs'
import { createRequire } from 'node:module'

const addon = createRequire(import.meta.url)('../../native/build/Release/proteus.node')
const [target, contentPath, way] = process.argv.slice(2)

const opcode = { lookup: 1, forget: 2, getattr: 3, open: 14, read: 15, release: 18, init: 26, flush: 25, interrupt: 36 }
const nodes = { '': 1, file: 2, backed: 3, folder: 4, late: 5, slow: 6 }
const noReply = [opcode.forget, opcode.interrupt, 42]
const ENOENT = -2
const ENOSYS = -38
const hour = 3600n

const request = new Uint8Array(1 << 20)
const reply = new Uint8Array(4096)
const input = new DataView(request.buffer)
const output = new DataView(reply.buffer)
const content = openSync(contentPath, 'r')
const folder = openSync('/', 'r')
const state = { size: fstatSync(content).size, errors: [], closed: 0, done: 0, backing: 0, slow: undefined }

function header(view, unique, error, bodyBytes) {
  view.setUint32(0, 16 + bodyBytes, true)
  view.setInt32(4, error, true)
  view.setBigUint64(8, unique, true)
  return 16 + bodyBytes
}

function attributes(view, at, node) {
  view.setBigUint64(at, BigInt(node), true)
  view.setBigUint64(at + 8, BigInt(node === 1 ? 0 : state.size), true)
  view.setUint32(at + 60, node === 1 ? 0o40755 : 0o100644, true)
  view.setUint32(at + 64, 1, true)
  view.setUint32(at + 68, process.getuid(), true)
  view.setUint32(at + 72, process.getgid(), true)
}

/** fuse_entry_out; names are not cached, so that each stat is a LOOKUP, except `file`, for the notifications. */
function entry(view, unique, name) {
  view.setBigUint64(16, BigInt(nodes[name]), true)
  view.setBigUint64(32, name === 'file' ? hour : 0n, true)
  view.setBigUint64(40, hour, true)
  attributes(view, 56, nodes[name])
  return header(view, unique, 0, 128)
}

function lookup(unique, length) {
  const name = Buffer.from(request.buffer, 40, length - 41).toString()
  if (name === 'throws') throw new Error('thrown on purpose')
  if (name === 'long') return reply.length + 1
  if (name === 'closes') {
    device.close()
    return 0
  }
  if (name === 'slow') {
    state.slow = unique
    return 0
  }
  if (name === 'late') {
    const message = new Uint8Array(144)
    const size = entry(new DataView(message.buffer), unique, name)
    Promise.resolve().then(() => device.reply(message.subarray(0, 16), message.subarray(16, size)))
    return 0
  }
  return nodes[name] ? entry(output, unique, name) : header(output, unique, ENOENT, 0)
}

function open(unique, node) {
  if (node === nodes.backed) {
    if (!state.backing) state.backing = device.openBacking(content)
    output.setUint32(24, 1 << 7, true) // FOPEN_PASSTHROUGH
    output.setInt32(28, state.backing, true)
  }
  return header(output, unique, 0, 16)
}

function init(unique) {
  output.setUint32(16, 7, true)
  output.setUint32(20, 40, true)
  output.setUint32(24, 128 * 1024, true)
  output.setUint32(28, 1 << 30, true) // FUSE_INIT_EXT
  output.setUint32(36, 128 * 1024, true)
  output.setUint32(40, 1, true)
  output.setUint32(48, way === 'direct' ? 1 << 5 : 0, true) // FUSE_PASSTHROUGH, bit 37
  output.setUint32(52, way === 'direct' ? 1 : 0, true) // max_stack_depth
  return header(output, unique, 0, 64)
}

const device = addon.openDevice(
  way === 'direct'
    ? addon.mount(target, { source: 'proteus:test', subtype: 'proteus', flags: 2 | 4, data: 'max_read=131072' })
    : addon.mountWithHelper(target, 'fsname=proteus:test,subtype=proteus,max_read=131072'),
  {
    onRequest(length) {
      const unique = input.getBigUint64(8, true)
      const node = Number(input.getBigUint64(16, true))
      const code = input.getUint32(4, true)
      reply.fill(0)
      switch (code) {
        case opcode.init:
          return init(unique)
        case opcode.lookup:
          return lookup(unique, length)
        case opcode.getattr:
          output.setBigUint64(16, hour, true)
          attributes(output, 32, node)
          return header(output, unique, 0, 104)
        case opcode.open:
          return open(unique, node)
        case opcode.read: {
          const offset = Number(input.getBigUint64(48, true))
          const fd = node === nodes.folder ? folder : content
          device.replyFromFile(unique, fd, offset, input.getUint32(56, true), () => state.done++)
          return 0
        }
        case opcode.flush:
        case opcode.release:
          return header(output, unique, 0, 0)
      }
      return noReply.includes(code) ? 0 : header(output, unique, ENOSYS, 0)
    },
    onError: (error) => state.errors.push(error.message),
    onClose: () => {
      state.closed++
      process.send({ event: 'closed' })
    },
  },
  reply,
)
device.setRequestBuffer(request)
device.start()
process.once('exit', () => device.close())

const commands = {
  ping: () => true,
  state: () => ({ ...state, slow: state.slow !== undefined }),
  resize: (size) => {
    state.size = size
  },
  notify: (hex) => device.notify(Buffer.from(hex, 'hex')),
  notifyLater: (hex) => device.notifyLater(Buffer.from(hex, 'hex')),
  /** Notifies later with as many stores of 1 MiB to an unknown node as are asked for; the results, by kind. */
  flood: async (count) => {
    const message = Buffer.alloc(40 + (1 << 20))
    message.writeUInt32LE(message.length, 0)
    message.writeInt32LE(4, 4) // FUSE_NOTIFY_STORE
    message.writeBigUInt64LE(99n, 16)
    message.writeUInt32LE(1 << 20, 32)
    const results = await Promise.allSettled(Array.from({ length: count }, () => device.notifyLater(message)))
    const kinds = {}
    for (const { value, reason } of results) {
      const kind = reason?.code ?? String(value)
      kinds[kind] = (kinds[kind] ?? 0) + 1
    }
    return kinds
  },
  /** Replies to a request that there is not, and to one that was answered. */
  replyUnknown: (unique) => {
    const message = new Uint8Array(16)
    header(new DataView(message.buffer), BigInt(unique), 0, 0)
    device.reply(message)
  },
  answerSlow: () => {
    device.answer(entry(output, state.slow, 'slow'))
    state.slow = undefined
  },
  closeBacking: () => device.closeBacking(state.backing),
  close: () => {
    device.close()
    device.close()
  },
  exit: () => process.exit(0),
  leave: () => {
    closeSync(content)
    process.disconnect()
  },
}

process.on('message', async ({ id, command, argument }) => {
  try {
    const result = await commands[command](argument)
    if (process.connected) process.send({ id, result })
  } catch (error) {
    process.send({ id, error: { code: error.code, message: error.message } })
  }
})
process.send({ event: 'ready' })
