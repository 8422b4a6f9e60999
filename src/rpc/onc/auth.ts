// Who calls: the flavors AUTH_NONE (RFC 5531 §8.1) and AUTH_SYS (appendix A). AUTH_SYS is believed, not proved.
import { array, decode, encode, struct, text, u32, type Value } from '../../codec/xdr.ts'
import { type AuthStatus, NO_AUTH, type OpaqueAuth } from './message.ts'

export const AUTH_NONE = 0
export const AUTH_SYS = 1

/** The most groups that AUTH_SYS has room for. */
export const AUTH_SYS_GROUPS = 16

/** `authsys_parms` (RFC 5531 appendix A). */
export const AuthSysParameters = struct({
  stamp: u32,
  machineName: text(255),
  uid: u32,
  gid: u32,
  gids: array(u32, AUTH_SYS_GROUPS),
})
export type AuthSysParameters = Value<typeof AuthSysParameters>

/** Who called, as the caller says. */
export type Caller = { readonly flavor: 'AUTH_NONE' } | ({ readonly flavor: 'AUTH_SYS' } & AuthSysParameters)

const NOBODY: Caller = { flavor: 'AUTH_NONE' }

/** A credential for calls: made once per identity, used for many. Groups beyond the sixteenth do not fit and are left out. */
export function authSys(parameters: AuthSysParameters): OpaqueAuth {
  const gids = parameters.gids.slice(0, AUTH_SYS_GROUPS)
  return { flavor: AUTH_SYS, body: encode(AuthSysParameters, { ...parameters, gids }) }
}

export const authNone = NO_AUTH

/**
 * Understands the credentials of one peer. Most calls carry the one of the call before: it is compared rather than
 * decoded again.
 */
export class CredentialReader {
  #body: Buffer | undefined
  #caller: Caller = NOBODY

  /** The caller, or why the credential is refused. */
  read({ flavor, body }: OpaqueAuth): Caller | AuthStatus {
    if (flavor === AUTH_NONE) return NOBODY
    if (flavor !== AUTH_SYS) return 'AUTH_BADCRED'
    if (this.#body?.equals(body)) return this.#caller
    try {
      this.#caller = { flavor: 'AUTH_SYS', ...decode(AuthSysParameters, body) }
    } catch {
      return 'AUTH_BADCRED'
    }
    this.#body = Buffer.from(body)
    return this.#caller
  }
}
