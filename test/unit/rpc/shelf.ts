// A small program of ONC RPC, in the manner of NFS, for tests of servers and clients.
import { enumeration, nothing, opaque, struct, text, u32, union } from '../../../src/codec/xdr.ts'
import { procedure, program } from '../../../src/rpc/onc/program.ts'
import { type OncContext, type Service, type ServiceOptions, service } from '../../../src/rpc/onc/service.ts'

const status = enumeration({ OK: 0, NOENT: 2, INVAL: 22 })
const lookup = union('status', status, { OK: { object: opaque(64) } }, {})

export const SHELF = program(
  'SHELF',
  0x2000_0001,
  3,
  {
    NULL: procedure(0, nothing, nothing),
    LOOKUP: procedure(1, struct({ name: text(255) }), lookup, { ifNotText: { status: 'INVAL' } }),
    READ: procedure(2, struct({ count: u32 }), struct({ data: opaque(1024 * 1024) })),
    WRITE: procedure(3, struct({ data: opaque(1024 * 1024) }), struct({ count: u32 })),
    REMOVE: procedure(4, struct({ name: text(255) }), struct({ status }), { idempotent: false }),
    WAIT: procedure(5, struct({ id: u32 }), struct({ id: u32 })),
    FAIL: procedure(6, nothing, nothing),
    HIDDEN: procedure(7, nothing, nothing),
  },
  {
    errorOf: (result) => {
      const failed = typeof result === 'object' && result !== null && 'status' in result && result.status === 'NOENT'
      return failed ? 'ENOENT' : undefined
    },
  },
)
export const { NULL, LOOKUP, READ, WRITE, REMOVE, WAIT, FAIL, HIDDEN } = SHELF.procedures

/** A shelf with names on it, and calls that wait until they are told what to do. */
export class Shelf {
  readonly names = new Set(['notes'])
  readonly contexts: OncContext[] = []
  removals = 0
  readonly #waiting = new Map<number, { resolve: () => void; reject: (error: Error) => void }>()
  /** Removals wait for `release(0)`; WRITEs for `release` of their first byte, and tell it if all are the same. */
  slow = false
  readonly service: Service

  constructor(options?: ServiceOptions) {
    const data = Buffer.alloc(1024 * 1024, 'd')
    this.service = service(
      SHELF,
      {
        LOOKUP: ({ name }, context) => {
          this.contexts.push(context)
          return this.names.has(name) ? { status: 'OK', object: Buffer.from(name) } : { status: 'NOENT' }
        },
        READ: ({ count }) => ({ data: data.subarray(0, count) }),
        WRITE: ({ data }) => {
          const result = () => ({ count: data.every((byte) => byte === data[0]) ? (data[0] ?? 0) : -1 >>> 0 })
          return this.slow ? this.#wait(data[0] ?? 0).then(result) : { count: data.length }
        },
        REMOVE: ({ name }) => {
          this.removals++
          const result = { status: this.names.delete(name) ? 'OK' : 'NOENT' } as const
          return this.slow ? this.#wait(0).then(() => result) : result
        },
        WAIT: ({ id }, context) => {
          this.contexts.push(context)
          return this.#wait(id).then(() => ({ id }))
        },
        FAIL: () => {
          throw new Error('as it should')
        },
      },
      options,
    )
  }

  get waiting(): number[] {
    return [...this.#waiting.keys()]
  }

  release(id: number): void {
    this.#waiting.get(id)?.resolve()
    this.#waiting.delete(id)
  }

  fail(id: number): void {
    this.#waiting.get(id)?.reject(new Error('as it should'))
    this.#waiting.delete(id)
  }

  #wait(id: number): Promise<void> {
    return new Promise((resolve, reject) => this.#waiting.set(id, { resolve, reject }))
  }
}
