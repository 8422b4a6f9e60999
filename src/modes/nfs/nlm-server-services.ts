// The programs of a lock server, bound to it: NLM's procedures, their twins that are messages, NSM, and CALLBACK.
import type { Procedure } from '../../rpc/onc/program.ts'
import type { OncContext, Service } from '../../rpc/onc/service.ts'
import { NO_REPLY, service } from '../../rpc/onc/service.ts'
import { SHARE_DELETE, SHARE_READ, SHARE_WRITE } from '../../store/share-modes.ts'
import { CALLBACK } from './callback-program.ts'
import type { LockServer } from './nlm-server.ts'
import type { Host } from './nlm-server-hosts.ts'
import { clientKey } from './nlm-server-monitor.ts'
import { nlmStatusOf, shareKeyOf } from './nlm-server-requests.ts'
import { NLM4_STATS, type Nlm4Stat } from './nlm-types.ts'
import {
  NLM4,
  type Nlm4CancelArguments,
  type Nlm4LockArguments,
  type Nlm4ShareArguments,
  type Nlm4TestArguments,
  type Nlm4TestResult,
  type Nlm4UnlockArguments,
} from './nlm4.ts'
import { NSM } from './nsm.ts'
import { callerOf } from './services.ts'

const { NLM4_GRANTED, NLM4_DENIED, NLM4_DENIED_NOLOCKS, NLM4_DENIED_GRACE_PERIOD, NLM4_FAILED } = NLM4_STATS
const { TEST_RES, LOCK_RES, CANCEL_RES, UNLOCK_RES } = NLM4.procedures

/** Reading and writing (fsh4_mode, fsh4_access). */
const SHARE_BITS = SHARE_READ | SHARE_WRITE
const SHARE_ALL = SHARE_BITS | SHARE_DELETE

export function lockServices(server: LockServer): Service[] {
  return [nlmService(server), nsmService(server), callbackService(server)]
}

function nlmService(server: LockServer): Service {
  const calls = new LockCalls(server)
  const lock = (args: Nlm4LockArguments, context: OncContext) => calls.lock(args, context, 'monitored')
  return service(NLM4, {
    TEST: (args, context) => calls.test(args, context),
    LOCK: lock,
    CANCEL: (args, context) => calls.cancel(args, context),
    UNLOCK: (args, context) => calls.unlock(args, context),
    TEST_MSG: (args, context) => calls.answer(context, args, TEST_RES, calls.test(args, context)),
    LOCK_MSG: (args, context) => calls.answer(context, args, LOCK_RES, lock(args, context)),
    CANCEL_MSG: (args, context) => calls.answer(context, args, CANCEL_RES, calls.cancel(args, context)),
    UNLOCK_MSG: (args, context) => calls.answer(context, args, UNLOCK_RES, calls.unlock(args, context)),
    SHARE: (args, context) => calls.share(args, context),
    UNSHARE: (args, context) => calls.unshare(args, context),
    NM_LOCK: (args, context) => calls.lock(args, context, 'not monitored'),
    FREE_ALL: ({ name }, { peer }) => server.restarted(peer.address, name),
  })
}

/** Monitors only those who lock here, and takes no orders from others. */
function nsmService(server: LockServer): Service {
  const state = () => ({ state: server.state })
  return service(NSM, {
    SM_STAT: () => ({ result: 'STAT_SUCC', state: server.state }),
    SM_MON: () => ({ result: 'STAT_FAIL', state: server.state }),
    SM_UNMON: state,
    SM_UNMON_ALL: state,
    SM_SIMU_CRASH: () => undefined,
    SM_NOTIFY: ({ name }, { peer }) => server.restarted(peer.address, name),
  })
}

function callbackService(server: LockServer): Service {
  return service(CALLBACK, {
    ACCEPTS_CALLS: ({ callerName }, { peer }) => ({
      known: server.announced(peer, callerName),
      state: server.state,
    }),
  })
}

interface Answer {
  readonly cookie: Buffer
  readonly stat: Nlm4Stat
}

class LockCalls {
  readonly #server: LockServer

  constructor(server: LockServer) {
    this.#server = server
  }

  test({ cookie, lock, exclusive }: Nlm4TestArguments, context: OncContext): Nlm4TestResult {
    const test = (): Nlm4TestResult['test'] => {
      if (this.#server.inGrace) return { stat: NLM4_DENIED_GRACE_PERIOD }
      const client = clientKey({ address: context.peer.address, name: lock.callerName })
      return this.#server.locks.test({ client, file: this.#target(context, lock.fh), lock, exclusive })
    }
    return { cookie, test: or(test, (stat) => ({ stat })) }
  }

  lock(args: Nlm4LockArguments, context: OncContext, monitored: 'monitored' | 'not monitored'): Answer {
    const { cookie, block, exclusive, lock, reclaim } = args
    return this.#answered(cookie, () => {
      const file = this.#target(context, lock.fh, exclusive)
      return this.#grantTo(context, { ...lock, reclaim }, (host) => {
        if (monitored === 'monitored') this.#server.record(host)
        // What is reclaimed was held: nobody can be in the way for long.
        return this.#server.locks.lock({ host, file, lock, exclusive }, block && !reclaim)
      })
    })
  }

  cancel({ cookie, lock, exclusive }: Nlm4CancelArguments, { peer }: OncContext): Answer {
    return this.#answered(cookie, () => {
      const file = this.#server.fileOf(lock.fh)
      const host = this.#server.hosts.find(peer.address, lock.callerName)
      if (file === undefined) return NLM4_STATS.NLM4_STALE_FH
      return host === undefined ? NLM4_DENIED : this.#server.locks.cancel({ host, file, lock, exclusive })
    })
  }

  unlock({ cookie, lock }: Nlm4UnlockArguments, { peer }: OncContext): Answer {
    return this.#answered(cookie, () => {
      const file = this.#server.fileOf(lock.fh)
      const host = this.#server.hosts.find(peer.address, lock.callerName)
      if (file === undefined) return NLM4_STATS.NLM4_STALE_FH
      return host === undefined ? NLM4_GRANTED : this.#server.locks.unlock({ host, file, lock })
    })
  }

  /** DOS share modes. A second SHARE of an owner takes the place of the first. */
  share({ cookie, share, reclaim }: Nlm4ShareArguments, context: OncContext): Answer & { readonly sequence: number } {
    const { mode, access, callerName, fh, oh } = share
    const answer = this.#answered(cookie, () => {
      if (((mode | access) & ~SHARE_BITS) !== 0) return NLM4_FAILED
      const file = this.#target(context, fh, (access & SHARE_WRITE) !== 0)
      return this.#grantTo(context, { callerName, reclaim }, (host) => {
        const key = shareKeyOf(oh)
        const name = `${file} ${key}`
        const { shares } = this.#server
        if (!host.shares.has(name) && host.shares.size >= this.#server.limits.perHost) return NLM4_DENIED_NOLOCKS
        this.#server.record(host)
        const before = shares.opensOf(file).find((open) => open.client === host.key && open.key === key)
        shares.close({ file, client: host.key, key })
        if (shares.open({ file, client: host.key, key, access, allows: SHARE_ALL & ~mode }) === undefined) {
          host.shares.set(name, { file, key })
          return NLM4_GRANTED
        }
        if (before !== undefined) shares.open(before)
        return NLM4_DENIED
      })
    })
    return { ...answer, sequence: 0 }
  }

  unshare({ cookie, share }: Nlm4ShareArguments, { peer }: OncContext): Answer & { readonly sequence: number } {
    const answer = this.#answered(cookie, () => {
      const file = this.#server.fileOf(share.fh)
      const host = this.#server.hosts.find(peer.address, share.callerName)
      if (file === undefined) return NLM4_STATS.NLM4_STALE_FH
      if (host === undefined) return NLM4_GRANTED
      const key = shareKeyOf(share.oh)
      this.#server.shares.close({ file, client: host.key, key })
      host.shares.delete(`${file} ${key}`)
      return NLM4_GRANTED
    })
    return { ...answer, sequence: 0 }
  }

  /** The answer to a message is a message, and lost if nobody is there to take it. */
  answer<R>(
    { peer }: OncContext,
    args: { readonly lock: { readonly callerName: string } },
    procedure: Procedure<R, undefined>,
    result: R,
  ): typeof NO_REPLY {
    const back = this.#server.backTo(peer, args.lock.callerName)
    if (back !== undefined) back.tell(procedure, result)
    else this.#server.callbacks.call(peer.address, peer.transport, procedure, result).catch(() => {})
    return NO_REPLY
  }

  /** The inode that a handle means, if this caller may use it; `change`: the export must not be read-only. */
  #target(context: OncContext, fh: Buffer, change = false): number {
    const { calls } = this.#server
    return (change ? calls.changeable(callerOf(context), fh) : calls.target(callerOf(context), fh)).ino
  }

  /** What gives something to a client: in the grace period to those only who had it before. */
  #grantTo(
    { peer }: OncContext,
    { callerName, reclaim }: { readonly callerName: string; readonly reclaim: boolean },
    grant: (host: Host) => Nlm4Stat,
  ): Nlm4Stat {
    const { inGrace } = this.#server
    if (reclaim !== inGrace) return NLM4_DENIED_GRACE_PERIOD
    const host = this.#server.hosts.findOrAdd(peer, callerName)
    if (host === undefined) return NLM4_DENIED_NOLOCKS
    if (reclaim && !this.#server.mayReclaim(host)) return NLM4_DENIED
    return grant(host)
  }

  #answered(cookie: Buffer, work: () => Nlm4Stat): Answer {
    return { cookie, stat: or(work, (stat) => stat) }
  }
}

function or<T>(work: () => T, otherwise: (stat: Nlm4Stat) => T): T {
  try {
    return work()
  } catch (error) {
    return otherwise(nlmStatusOf(error))
  }
}
