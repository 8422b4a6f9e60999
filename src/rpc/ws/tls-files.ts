// Certificates and keys, read from where they are each time that they are needed: they may be renewed meanwhile.
import { readFile } from 'node:fs/promises'
import { FsError } from '../../posix/errors.ts'

/** Paths of PEM files. */
export interface TlsFiles {
  /** Who certifies the other side. A server with it wants certificates of its clients. */
  readonly caFile?: string
  readonly certFile?: string
  readonly keyFile?: string
}

export interface TlsParts {
  readonly ca?: Buffer
  readonly cert?: Buffer
  readonly key?: Buffer
}

/** Rejects with FsError, as the file system has it. */
export async function readTls({ caFile, certFile, keyFile }: TlsFiles): Promise<TlsParts> {
  const read = async (name: keyof TlsParts, path: string | undefined): Promise<TlsParts> =>
    path === undefined ? {} : { [name]: await readFile(path) }
  try {
    const parts = await Promise.all([read('ca', caFile), read('cert', certFile), read('key', keyFile)])
    return Object.assign({}, ...parts)
  } catch (error) {
    throw FsError.from(error)
  }
}
