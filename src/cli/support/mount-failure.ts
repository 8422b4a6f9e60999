// Why a mount was refused, in one line that says what to do. Pure.
import { errorCode } from '../exit.ts'

const NO_DEVICE = 'there is no /dev/fuse: `modprobe fuse`; in a container: --device /dev/fuse --cap-add SYS_ADMIN'
const NO_ACCESS = '/dev/fuse is not for this user: run as root, or `chmod 666 /dev/fuse` as Debian has it'

/** The line for what a driver threw, or undefined if its own message is as good as any. */
export function describeMountFailure(error: unknown, target: string): string | undefined {
  if (!(error instanceof Error)) return undefined
  const code = errorCode(error)
  const syscall = 'syscall' in error ? error.syscall : undefined
  switch (syscall) {
    case 'spawn fusermount3':
      return code === 'ENOENT' ? 'mounting without root needs fusermount3: apt-get install fuse3' : undefined
    case 'fusermount3': {
      // "EPERM: Operation not permitted, fusermount3 '/target': what it said"; it says more than the number.
      const said = error.message.split(`'${target}': `)[1]?.trim()
      if (said?.includes('/dev/fuse')) return said.endsWith('Permission denied') ? NO_ACCESS : NO_DEVICE
      return `cannot mount on ${target}: ${said || 'fusermount3 did not say why: is it set-uid root?'}`
    }
    case 'open':
      if (!error.message.includes('/dev/fuse')) return undefined
      return code === 'ENOENT' || code === 'ENXIO' || code === 'ENODEV' ? NO_DEVICE : NO_ACCESS
    case 'mount':
      if (code === 'EPERM') return 'this root may not mount (no CAP_SYS_ADMIN): in a container: --cap-add SYS_ADMIN'
      if (code === 'ENODEV') return NO_DEVICE
      return undefined
    default:
      return undefined
  }
}
