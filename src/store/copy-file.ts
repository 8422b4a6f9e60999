// Copies a file of a descriptor without keeping the event loop.
import { read } from 'node:fs'
import { open } from 'node:fs/promises'
import { promisify } from 'node:util'

const STEP_BYTES = 1 << 20
const readAt = promisify(read)

/** Makes the file `path` with the bytes of `fd`, which stays open. */
export async function copyFile(fd: number, path: string): Promise<void> {
  const to = await open(path, 'w', 0o600)
  try {
    const buffer = Buffer.allocUnsafe(STEP_BYTES)
    for (let at = 0; ; ) {
      const { bytesRead } = await readAt(fd, buffer, 0, STEP_BYTES, at)
      if (bytesRead === 0) return
      for (let done = 0; done < bytesRead; ) {
        done += (await to.write(buffer, done, bytesRead - done, at + done)).bytesWritten
      }
      at += bytesRead
    }
  } finally {
    await to.close()
  }
}
