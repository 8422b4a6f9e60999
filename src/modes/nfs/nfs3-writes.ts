// WRITE and COMMIT (RFC 1813 §3.3.7, §3.3.21).
import { MAY_WRITE, mayTransfer } from '../../posix/credentials.ts'
import { FsError } from '../../posix/errors.ts'
import { isRegular } from '../../posix/mode.ts'
import type { Arguments, Result } from './nfs3.ts'
import { type Caller, type NfsCalls, statusOf, type Target } from './nfs3-calls.ts'
import type { WccAttr } from './nfs3-types.ts'

/**
 * Data is in the content file when this returns: it survives the death of the server. Loss of power it survives if it is
 * not UNSTABLE and the export not `async`; the client keeps what is UNSTABLE until COMMIT answers with the same verifier.
 */
export function write(
  calls: NfsCalls,
  caller: Caller,
  { file, offset, count, stable, data }: Arguments<'WRITE'>,
): Result<'WRITE'> | Promise<Result<'WRITE'>> {
  let target: Target | undefined
  let before: WccAttr | undefined
  const failed = (error: unknown): Result<'WRITE'> => ({ status: statusOf(error), wcc: calls.wcc(target, before) })
  try {
    const { volume, verifier } = calls
    target = calls.changeable(caller, file)
    const { ino, who } = target
    before = calls.before(ino)
    if (count !== data.length) throw new FsError('EINVAL')
    const attributes = volume.attributes(ino)
    if (!isRegular(attributes.mode)) throw new FsError('EINVAL')
    if (!mayTransfer(who, attributes, MAY_WRITE)) throw new FsError('EACCES')
    const written = volume.writeUnopened(ino, data, offset, who)
    const answer = (): Result<'WRITE'> => ({
      status: 'NFS3_OK',
      wcc: calls.wcc(target, before),
      count: written,
      committed: stable,
      verifier,
    })
    if (stable === 'UNSTABLE' || target.access.asynchronous) return answer()
    return volume.fsync(ino, stable === 'DATA_SYNC').then(answer, failed)
  } catch (error) {
    return failed(error)
  }
}

/** Everything of the file becomes durable, whatever range is asked for. */
export async function commit(
  calls: NfsCalls,
  caller: Caller,
  { file }: Arguments<'COMMIT'>,
): Promise<Result<'COMMIT'>> {
  let target: Target | undefined
  let before: WccAttr | undefined
  try {
    target = calls.changeable(caller, file)
    before = calls.before(target.ino)
    await calls.volume.fsync(target.ino, false)
    return { status: 'NFS3_OK', wcc: calls.wcc(target, before), verifier: calls.verifier }
  } catch (error) {
    return { status: statusOf(error), wcc: calls.wcc(target, before) }
  }
}
