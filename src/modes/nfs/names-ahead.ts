// What a listing told of names that the kernel has not asked for: look-ahead.ts fills it. Each is told once, and holds as
// long as the directory is the one that was listed, or only we have changed it, and the attributes may be believed.
import type { AttributeRequest, AttributeUpdate } from '../../vfs/attribute-cache.ts'
import { type ChangeAttributes, changeAttributes, sameChange } from '../../vfs/change-attributes.ts'
import type { NodeId } from '../../vfs/filesystem.ts'
import { changeOf } from './nfs3-attributes.ts'
import type { Fattr3 } from './nfs3-types.ts'

export interface NameAhead {
  readonly object: Buffer
  readonly attributes: Fattr3
  readonly directory: Fattr3
  readonly request: AttributeRequest
}

/** Names of one directory, the one that was last looked through. */
export class NamesAhead {
  #directory: NodeId | undefined
  /** The names are right while the directory is so. */
  #under: ChangeAttributes | undefined
  readonly #names = new Map<string, NameAhead>()

  begin(directory: NodeId): void {
    this.#names.clear()
    this.#directory = directory
    this.#under = undefined
  }

  put(directory: NodeId, name: string, found: NameAhead): void {
    if (directory !== this.#directory) return
    this.#under ??= changeAttributes(changeOf(found.directory))
    if (sameChange(this.#under, changeOf(found.directory))) this.#names.set(name, found)
  }

  /** `known`: the attributes of the directory, if they are believed. `since`: when the server must have said so. */
  take(directory: NodeId, name: string, known: ChangeAttributes | undefined, since: number): NameAhead | undefined {
    if (directory !== this.#directory || known === undefined || this.#under === undefined) return undefined
    if (!sameChange(this.#under, known)) return undefined
    const found = this.#names.get(name)
    if (found === undefined) return undefined
    this.#names.delete(name)
    return found.request.sentMs > since ? found : undefined
  }

  /** The attributes of a directory were told. */
  update({ node, change, from, to }: AttributeUpdate): void {
    if (node !== this.#directory || this.#under === undefined || to === undefined) return
    if (change === 'own' && from !== undefined && sameChange(this.#under, from)) this.#under = to
    else if (!sameChange(this.#under, to)) this.drop(node)
  }

  /** We gave a name to something, or took it away; call `update` with the same answer first. */
  changed(directory: NodeId, name: string): void {
    if (directory === this.#directory) this.#names.delete(name)
  }

  /** Nobody knows the directory any more. */
  drop(directory: NodeId): void {
    if (directory !== this.#directory) return
    this.#directory = undefined
    this.#names.clear()
  }
}
