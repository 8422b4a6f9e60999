// Does to a volume, beside the random operations of volume-model.ts, what goes on between operations: files that are
// open, or have no name, listings under way, syncs, time.
import fs from 'node:fs'
import { expect } from 'vitest'
import { FsError } from '../../../src/posix/errors.ts'
import { O_RDWR } from '../../../src/posix/mode.ts'
import type { Content } from '../../../src/store/contents.ts'
import type { Volume } from '../../../src/store/volume.ts'
import { type ManualClock, root } from './volume-fixture.ts'
import { isFile, type ModelNode, type Operations, regularNode } from './volume-model.ts'

interface Handle {
  readonly content: Content
  readonly node: ModelNode
}

/** A listing under way. `stay`: the names that were there all the time. */
interface Listing {
  readonly directory: ModelNode
  stay: Set<string>
  readonly seen: string[]
  cookie: number
}

const MODE = 0o640

export class Adversary {
  readonly #volume: Volume
  readonly #operations: Operations
  readonly #clock: ManualClock
  readonly #chance: () => number
  readonly #writes: boolean
  readonly #handles: Handle[] = []
  readonly #temporary: ModelNode[] = []
  readonly #listings: Listing[] = []
  readonly #syncs: Promise<void>[] = []
  #named = 0

  constructor(options: {
    readonly volume: Volume
    readonly operations: Operations
    readonly clock: ManualClock
    readonly chance: () => number
    readonly writes: boolean
  }) {
    this.#volume = options.volume
    this.#operations = options.operations
    this.#clock = options.clock
    this.#chance = options.chance
    this.#writes = options.writes
  }

  /** Does something. Returns what. */
  async step(): Promise<string> {
    const what = await this.#act(Math.floor(this.#chance() * 16))
    for (const { node, content } of this.#handles) expect(readAll(this.#volume, content), what).toBe(node.content)
    this.watch()
    return what
  }

  async #act(kind: number): Promise<string> {
    const volume = this.#volume
    switch (kind) {
      case 0: {
        const ino = attempt(() => volume.createTemporary(1, MODE, root))
        if (ino === undefined) return 'temporary failed'
        volume.hold(ino, 1)
        this.#temporary.push(regularNode(ino, MODE))
        return `temporary ${ino}`
      }
      case 1: {
        const node = this.#take(this.#temporary)
        if (!node) return 'no temporary'
        const at = this.#pick(this.#operations.model.directories()).node
        const name = `t${this.#named++ % 5}`
        const done = attempt(() => {
          volume.link(node.ino, at.ino, name, root)
          return true
        })
        if (done) at.entries.set(name, node)
        volume.drop(node.ino, 1)
        return `link ${node.ino} as ${name}: ${done}`
      }
      case 2: {
        const node = this.#take(this.#temporary)
        if (node) volume.drop(node.ino, 1)
        return `drop ${node?.ino}`
      }
      case 3:
      case 4: {
        const files = this.#operations.model
          .directories()
          .flatMap(({ node }) => [...node.entries.values()].filter(isFile))
        const node = this.#pick([...files, ...this.#temporary])
        if (!node || this.#handles.length > 4) return 'nothing to open'
        this.#handles.push({ node, content: volume.openContent(node.ino, O_RDWR, root) })
        return `open ${node.ino}`
      }
      case 5:
      case 6: {
        const handle = this.#take(this.#handles)
        if (handle) volume.closeContent(handle.content)
        return `close ${handle?.node.ino}`
      }
      case 7:
      case 8: {
        const handle = this.#pick(this.#handles)
        if (!handle || !this.#writes) return 'nothing to write'
        const text = 'y'.repeat(Math.floor(this.#chance() * 30))
        if (this.#chance() < 0.5) {
          fs.ftruncateSync(handle.content.fd, 0)
          fs.writeSync(handle.content.fd, text, 0)
        } else {
          volume.setAttributes(handle.node.ino, { size: 0 }, root)
          volume.write(handle.content, Buffer.from(text), 0, this.#chance() < 0.5)
        }
        handle.node.content = text
        return `write ${handle.node.ino}`
      }
      case 9: {
        const node = this.#pick([...this.#handles.map((handle) => handle.node), ...this.#temporary])
        if (node) this.#wait(volume.fsync(node.ino, false))
        return `fsync ${node?.ino}`
      }
      case 10:
        this.#wait(volume.sync())
        return 'sync'
      case 11:
        await Promise.allSettled(this.#syncs.splice(0))
        return 'wait for syncs'
      case 12:
        this.#clock.advance(this.#chance() < 0.5 ? 25 : 1500)
        return 'time'
      case 13: {
        const directory = this.#pick(this.#operations.model.directories()).node
        this.#listings.push({ directory, stay: new Set(directory.entries.keys()), seen: [], cookie: 0 })
        return `list ${directory.ino}`
      }
      default: {
        const listing = this.#pick(this.#listings)
        if (listing) attempt(() => this.#goOn(listing))
        return `go on listing ${listing?.directory.ino}`
      }
    }
  }

  /** Gives everything back. */
  async end(): Promise<void> {
    for (const { content } of this.#handles.splice(0)) this.#volume.closeContent(content)
    for (const { ino } of this.#temporary.splice(0)) this.#volume.drop(ino, 1)
    await Promise.allSettled(this.#syncs.splice(0))
  }

  #goOn(listing: Listing): void {
    let count = 1 + Math.floor(this.#chance() * 3)
    for (const { name, cookie } of this.#volume.list(listing.directory.ino, listing.cookie)) {
      listing.seen.push(name)
      listing.cookie = cookie
      if (--count === 0) return
    }
    const stayed = listing.seen.filter((name) => listing.stay.has(name))
    expect(stayed.sort()).toEqual([...listing.stay].sort())
    this.#listings.splice(this.#listings.indexOf(listing), 1)
  }

  /** To be called after each operation: which entries are still those that listings under way must show. */
  watch(): void {
    const directories = new Set(this.#operations.model.directories().map(({ node }) => node))
    for (const listing of [...this.#listings]) {
      if (!directories.has(listing.directory)) this.#listings.splice(this.#listings.indexOf(listing), 1)
      listing.stay = new Set([...listing.stay].filter((name) => listing.directory.entries.has(name)))
    }
  }

  #wait(sync: Promise<void>): void {
    sync.catch(() => {})
    this.#syncs.push(sync)
  }

  #pick<T>(items: readonly T[]): T {
    return items[Math.floor(this.#chance() * items.length)] as T
  }

  #take<T>(items: T[]): T | undefined {
    return items.splice(Math.floor(this.#chance() * items.length), 1)[0]
  }
}

/** The result; undefined if the operation fails. */
function attempt<T>(operation: () => T): T | undefined {
  try {
    return operation()
  } catch (error) {
    if (error instanceof FsError) return undefined
    throw error
  }
}

function readAll(volume: Volume, content: Content): string {
  const into = new Uint8Array(100)
  return Buffer.from(into.subarray(0, volume.read(content, into, 0))).toString()
}
