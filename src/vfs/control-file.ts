// What a file in the control directory is made of: a name, and what reading and writing it means.
import type { Awaitable, CallContext } from './filesystem.ts'

/** Output that goes on for as long as somebody reads it. */
export interface ControlStream {
  /** Up to `length` bytes of what is there now; empty if nothing is. */
  take(length: number): Uint8Array
  /** Resolves when `take` may have something or the stream has ended; rejects with EINTR when `signal` aborts. */
  ready(signal: AbortSignal): Promise<void>
  /** Nothing will come after what `take` still has. */
  readonly ended: boolean
  /** The reader is gone, or the mount is. */
  close(): void
}

export type ControlContent = string | Uint8Array | ControlStream

export interface ControlFile {
  readonly name: string
  /** Permission bits for the owner of the mount, group and others. Default: 0444, with `write` 0644, only `write` 0200. */
  readonly mode?: number
  /** Called at each open for reading. What it returns is what that open reads. */
  read?(context: CallContext): Awaitable<ControlContent>
  /** One line as it was written, without its newline; never empty. An error becomes that of write(2) or close(2). */
  write?(line: string, context: CallContext): Awaitable<void>
}

export function isStream(content: ControlContent): content is ControlStream {
  return typeof content === 'object' && 'ready' in content
}
