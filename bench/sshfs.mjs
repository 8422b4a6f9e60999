// A peer: sshfs over an sshd of its own, on loopback, with keys made for this run.
import { existsSync } from 'node:fs'
import { mkdir, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { userInfo } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Daemon, findProgram, missingProgram, ProgramError, placed, run } from './processes.mjs'

const LOOPBACK = '127.0.0.1'
/** Where Debian's sshd, run by root, wants an empty folder. */
const PRIVILEGE_SEPARATION = '/run/sshd'

export const missingSshfs = () => missingProgram('sshfs', 'sshd', 'ssh', 'ssh-keygen')

/** The daemons: one sshd, and one sshfs for each target. `folder` is new and empty, for keys and settings. */
export async function startSshfs({ data, targets, folder, placement, context }) {
  await mkdir(folder, { mode: 0o700 })
  const [hostKey, userKey] = ['host', 'user'].map((name) => join(folder, name))
  for (const key of [hostKey, userKey]) await run(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-f', key], context)
  const port = await freePort()
  const settings = join(folder, 'sshd_config')
  await writeFile(
    settings,
    `Port ${port}
ListenAddress ${LOOPBACK}
HostKey ${hostKey}
AuthorizedKeysFile ${userKey}.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
Subsystem sftp internal-sftp
`,
  )
  if (process.getuid() === 0 && !existsSync(PRIVILEGE_SEPARATION)) await mkdir(PRIVILEGE_SEPARATION, { mode: 0o755 })
  const server = new Daemon(placed(placement, [findProgram('sshd'), '-D', '-e', '-f', settings]))
  try {
    await greeted(port, context)
  } catch (error) {
    await server.end()
    throw error
  }
  const known = 'StrictHostKeyChecking=no,UserKnownHostsFile=/dev/null,BatchMode=yes'
  const options = `${known},IdentityFile=${userKey},port=${port}`
  const source = `${userInfo().username}@${LOOPBACK}:${data}`
  const clients = targets.map((target) => new Daemon(placed(placement, ['sshfs', '-f', '-o', options, source, target])))
  return { server, clients }
}

/** Resolves when a server says who it is. */
async function greeted(port, { signal }) {
  for (let tries = 0; tries < 100; tries++) {
    const banner = await new Promise((resolve) => {
      const socket = connect({ port, host: LOOPBACK })
      const over = (said) => {
        socket.destroy()
        resolve(said)
      }
      socket
        .once('data', over)
        .once('error', () => over())
        .once('end', () => over())
    })
    if (banner?.toString('latin1').startsWith('SSH-')) return
    await delay(50, undefined, { signal })
  }
  throw new ProgramError('sshd did not become ready')
}

function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer().once('error', reject)
    probe.listen(0, LOOPBACK, () => {
      const { port } = probe.address()
      probe.close(() => resolve(port))
    })
  })
}
