// In whose name calls are made: AUTH_SYS (RFC 5531 appendix A) with the caller's user, group and supplementary groups.
import { hostname } from 'node:os'
import { authSys } from '../../rpc/onc/auth.ts'
import type { OpaqueAuth } from '../../rpc/onc/message.ts'
import { Callers, type CallersOptions } from '../../vfs/callers.ts'

export class CallerCredentials extends Callers<OpaqueAuth> {
  constructor(options: Pick<CallersOptions<OpaqueAuth>, 'now' | 'groupsOf'>) {
    const machineName = hostname().slice(0, 63)
    super({
      ...options,
      describe: ({ groups, ...user }) => authSys({ stamp: 0, machineName, ...user, gids: [...groups] }),
    })
  }
}
