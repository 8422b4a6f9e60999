// Where the grant table keeps its grants: found by id, by holder, by file, by client, and by age. No decisions here.
import {
  type AcquireRequest,
  CACHE_HANDLE,
  CACHE_NOTHING,
  CACHE_READ,
  CACHE_WRITE,
  type GrantId,
  type GrantView,
  type Holder,
  type Operation,
  type OperationId,
  type Recall,
  type Rights,
} from './grant-types.ts'

/** A promise, as the table changes it. */
export interface Grant {
  readonly id: GrantId
  readonly file: FileGrants
  readonly client: string
  readonly key: string
  /** What the holder may be using. */
  rights: Rights
  /** What it is to be left with: less than `rights` while a recall is under way, or has to follow. */
  target: Rights
  epoch: number
  since: number
  expiresAt: number
  recall: Recall | undefined
  /** How long the recall may take that has to follow the one under way. */
  followingTimeoutMs: number
  /** Being recalled for lack of room. */
  evicted: boolean
}

/** An operation that waits, or that lasts. */
export interface PendingOperation {
  readonly id: OperationId
  readonly file: FileGrants
  readonly operation: Operation
  readonly since: number
  readonly recall: Rights
  readonly wait: Rights
  readonly waitsFor: Set<Grant>
}

export interface FileGrants {
  readonly file: number
  readonly grants: Set<Grant>
  /** The same by holder, once they are many. */
  byHolder: Map<string, Grant> | undefined
  /** How many grants have each right. */
  readonly count: { [CACHE_READ]: number; [CACHE_HANDLE]: number; [CACHE_WRITE]: number }
  /** Operations that wait or last, in order of arrival. */
  readonly operations: Map<OperationId, PendingOperation>
}

/** Up to so many holders of a file are looked through: to make a name of one costs more. */
const FEW = 8

export class GrantIndex {
  readonly #files = new Map<number, FileGrants>()
  readonly #grants = new Map<GrantId, Grant>()
  readonly #clients = new Map<string, Set<Grant>>()
  /** Grants of nothing but reading that are not being recalled, least recently granted first. */
  readonly #readOnly = new Set<Grant>()
  #lastGrant = 0

  get size(): number {
    return this.#grants.size
  }

  /** The grant of nothing but reading that was given or renewed longest ago, and is not being recalled. */
  get oldestReadOnly(): Grant | undefined {
    const [oldest] = this.#readOnly
    return oldest
  }

  has(grant: Grant): boolean {
    return this.#grants.has(grant.id)
  }

  get(id: GrantId): Grant | undefined {
    return this.#grants.get(id)
  }

  find(file: number, holder: Holder): Grant | undefined {
    const found = this.#files.get(file)
    if (found === undefined) return undefined
    if (found.byHolder !== undefined) return found.byHolder.get(holderName(holder))
    for (const grant of found.grants) if (isHolder(grant, holder)) return grant
    return undefined
  }

  findFile(file: number): FileGrants | undefined {
    return this.#files.get(file)
  }

  /** The grants of a client; may change while they are looked through. */
  ofClient(client: string): Iterable<Grant> {
    return this.#clients.get(client) ?? []
  }

  all(): Iterable<Grant> {
    return this.#grants.values()
  }

  file(file: number): FileGrants {
    let found = this.#files.get(file)
    if (found === undefined) {
      const count = { [CACHE_READ]: 0, [CACHE_HANDLE]: 0, [CACHE_WRITE]: 0 }
      found = { file, grants: new Set(), byHolder: undefined, count, operations: new Map() }
      this.#files.set(file, found)
    }
    return found
  }

  /** Forgets a file that nobody holds or waits for. */
  tidy({ file, grants, operations }: FileGrants): void {
    if (grants.size + operations.size === 0) this.#files.delete(file)
  }

  /** A new grant, of no rights as yet. */
  add(request: AcquireRequest): Grant {
    const { client, key = '', epoch = 0 } = request
    const grant: Grant = {
      id: ++this.#lastGrant,
      file: this.file(request.file),
      client,
      key,
      rights: CACHE_NOTHING,
      target: CACHE_NOTHING,
      epoch,
      since: 0,
      expiresAt: Number.POSITIVE_INFINITY,
      recall: undefined,
      followingTimeoutMs: 0,
      evicted: false,
    }
    this.#grants.set(grant.id, grant)
    const { file } = grant
    file.grants.add(grant)
    if (file.byHolder !== undefined) file.byHolder.set(holderName(grant), grant)
    else if (file.grants.size > FEW) file.byHolder = new Map([...file.grants].map((one) => [holderName(one), one]))
    const ofClient = this.#clients.get(client)
    if (ofClient) ofClient.add(grant)
    else this.#clients.set(client, new Set([grant]))
    return grant
  }

  /** Takes a grant out, and all its rights away; its file stays until `tidy`. */
  remove(grant: Grant): void {
    const { id, file, client } = grant
    this.setRights(grant, CACHE_NOTHING)
    this.#grants.delete(id)
    file.byHolder?.delete(holderName(grant))
    this.#readOnly.delete(grant)
    file.grants.delete(grant)
    const ofClient = this.#clients.get(client)
    ofClient?.delete(grant)
    if (ofClient?.size === 0) this.#clients.delete(client)
  }

  setRights(grant: Grant, rights: Rights): void {
    for (const right of EACH_RIGHT) {
      grant.file.count[right] += Number((rights & right) !== 0) - Number((grant.rights & right) !== 0)
    }
    grant.rights = rights
  }

  /** To be called when a grant was given, renewed, cut down or is being recalled: it is now the youngest. */
  touch(grant: Grant): void {
    this.#readOnly.delete(grant)
    if (grant.rights === CACHE_READ && grant.recall === undefined) this.#readOnly.add(grant)
  }
}

const EACH_RIGHT = [CACHE_READ, CACHE_HANDLE, CACHE_WRITE] as const

/** The rights that anybody (but `except`) has on a file. */
export function heldRights({ count }: FileGrants, except?: Grant): Rights {
  let rights = CACHE_NOTHING
  for (const right of EACH_RIGHT) {
    const own = Number(((except?.rights ?? CACHE_NOTHING) & right) !== 0)
    if (count[right] > own) rights |= right
  }
  return rights
}

export const isHolder = (a: Holder, b: Holder): boolean => a.client === b.client && (a.key ?? '') === (b.key ?? '')

/** One string per (client, key). */
const holderName = ({ client, key = '' }: Holder): string => `${client.length} ${client}${key}`

export function viewOf({ id, file, client, key, rights, epoch, since, expiresAt, recall }: Grant): GrantView {
  const view = { id, file: file.file, client, key, rights, epoch, since, expiresAt }
  return recall ? { ...view, recall } : view
}
