// Tells who caches what the volume says that something changed.

export type Notice =
  /** A name appeared, went, or leads to another inode. `node`: the inode it leads to, or led to. */
  | { readonly kind: 'name'; readonly parent: number; readonly name: string; readonly node: number }
  /** Attributes (or content) of an inode changed. `access`: those that decide who may do what (mode, owner, group). */
  | { readonly kind: 'attributes'; readonly ino: number; readonly access: boolean }

export type NoticeListener = (notice: Notice) => void

export class Notices {
  readonly #listeners = new Set<NoticeListener>()

  /** Calls `listener` after each change, within the call that made it. Returns how to stop. */
  watch(listener: NoticeListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  name(parent: number, name: string, node: number): void {
    if (this.#listeners.size > 0) this.#send({ kind: 'name', parent, name, node })
  }

  attributes(ino: number, access = false): void {
    if (this.#listeners.size > 0) this.#send({ kind: 'attributes', ino, access })
  }

  #send(notice: Notice): void {
    for (const listener of this.#listeners) listener(notice)
  }
}
