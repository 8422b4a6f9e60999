// `proteus switch`: other semantics on the mounts of a running lab, with the same files; what stands in its way, and the
// way back.
import { spawn } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Cli, parseLines, ready, until } from '../support/cli.ts'
import { mountsUnder } from '../support/mounts.ts'
import { ended, killNow } from '../support/processes.ts'
import { type Running, run, shell, start } from '../support/run.ts'

let cli: Cli
beforeEach(() => {
  cli = new Cli()
})
afterEach(() => cli.cleanUp())

const both = (): string[] => [cli.a, cli.b]
const switchTo = (...args: string[]) => cli.run('switch', ...args, '--data', cli.data, '--json')

/** The mode that each mount says it has, and the one that the lab has. */
async function modes(): Promise<unknown[]> {
  const [status] = await cli.json('status', '--data', cli.data)
  const mounts = status?.mounts as { status: { mode: string } }[]
  return [status?.mode, ...mounts.map((mount) => mount.status.mode)]
}

/** What a tree is, as far as both modes carry it: names, types, permissions, owners, sizes, times, links, content. */
function tree(mount: string): Promise<string> {
  const script = `cd "$1" && find . -printf '%P %y %m %U:%G %n %i %l ' \\( -type f -printf '%s %T@ ' \\) -printf '\\n' |
    sort && find . -type f -exec cksum {} + | sort -k3`
  return shell(script, { args: [mount] })
}

/** A program that holds a file of a mount open, and is there when this resolves. */
async function holdOpen(file: string): Promise<Running> {
  const script = 'import sys, time; f = open(sys.argv[1]); print("open", flush=True); time.sleep(50)'
  const running = start('python3', ['-c', script, file])
  await new Promise((resolve) => running.child.stdout?.once('data', resolve))
  return running
}

describe('a lab in the background', () => {
  beforeEach(async () => {
    await cli.json('up', ...cli.lab, '--detach')
  })

  test('local, nfs, local: the same files', async () => {
    await shell(
      `cd "$1" && mkdir -m 1750 d && echo hello > d/f && ln d/f d/hard && ln -s f d/soft && chmod 4711 d/f &&
       chown 7:8 d/f && mkfifo pipe && truncate -s 1M holes && printf x | dd of=holes bs=1 seek=500000 conv=notrunc &&
       touch -d 2001-02-03T04:05:06.789 d/f && setfattr -n user.colour -v blue d/f && head -c 300000 /dev/urandom > big`,
      { args: [cli.a] },
    )
    const before = await tree(cli.a)
    const [nfs] = await cli.json('switch', 'nfs', '--data', cli.data)
    expect(nfs).toMatchObject({ event: 'switched', from: 'local', mode: 'nfs', mounts: both(), dropped: [] })
    expect(nfs?.url).toMatch(/^nfs:/)
    expect(mountsUnder(cli.folder).sort()).toEqual(both())
    expect(await modes()).toEqual(['nfs', 'nfs', 'nfs'])
    expect(await tree(cli.b)).toBe(before)
    expect(await cli.json('net', cli.a)).toEqual([{ mount: cli.a, network: 'up' }])
    await shell('echo more >> "$1/d/hard"; echo new > "$1/new"', { args: [cli.b] })

    const changed = await tree(cli.b)
    expect(await cli.json('switch', 'local', '--data', cli.data)).toMatchObject([{ event: 'switched', mode: 'local' }])
    expect(await modes()).toEqual(['local', 'local', 'local'])
    expect(await tree(cli.a)).toBe(changed)
    expect(await run('cat', [join(cli.a, 'd/f')])).toBe('hello\nmore\n')
    expect(await run('getfattr', ['--only-values', '-n', 'user.colour', join(cli.b, 'd/hard')])).toBe('blue')
    expect(cli.processes().length).toBe(1)

    const [down] = await cli.json('down', '--data', cli.data)
    expect(down).toMatchObject({ event: 'stopped', processes: [{ ending: 'closed' }] })
    expect(mountsUnder(cli.folder)).toEqual([])
    expect(cli.processes()).toEqual([])
  })

  test('down after a switch ends the server, too', async () => {
    await cli.json('switch', 'nfs', '--data', cli.data)
    const trace = cli.start('trace', cli.a, '--json')
    let text = ''
    trace.child.stdout?.on('data', (chunk: Buffer) => {
      text += chunk
    })
    for (let i = 0; !text.includes('"rpc"') && i < 1000; i++)
      await shell('echo x > "$1"', { args: [join(cli.a, `f${i}`)] })
    trace.child.kill('SIGINT')
    await trace.finished
    const [down] = await cli.json('down', '--data', cli.data)
    expect((down as { processes: { ending: string }[] }).processes.map(({ ending }) => ending)).toEqual([
      'closed',
      'closed',
      'closed',
    ])
    expect(mountsUnder(cli.folder)).toEqual([])
    expect(cli.processes()).toEqual([])
  })

  test('the mode that is there already: one line, and nothing is done', async () => {
    const before = cli.serving()
    const { code, stdout } = await cli.run('switch', 'local', '--data', cli.data)
    expect([code, stdout]).toEqual([0, 'a, b: mode local already.\n'])
    expect(cli.serving()).toEqual(before)
  })

  test('options stay, those of the other mode go with a note, and -o adds to them', async () => {
    await cli.json('switch', 'nfs', '-o', 'ro,actimeo=7', '--data', cli.data)
    const readOnly = 'cannot touch .*: Read-only file system'
    await expect(run('touch', [join(cli.a, 'f')])).rejects.toThrow(new RegExp(readOnly))
    const server = cli.serving()[0]
    const again = await switchTo('nfs', '-o', 'rw')
    expect(parseLines(again.stdout)).toMatchObject([{ event: 'switched', from: 'nfs', mode: 'nfs' }])
    expect(cli.serving()[0]).toBe(server)
    await run('touch', [join(cli.a, 'f')])
    const local = await switchTo('local')
    expect(local.stderr).toBe('mode local has no mount option actimeo=7: dropped\n')
    expect(await switchTo('local', '-o', 'actimeo=7')).toMatchObject({
      code: 2,
      stderr: expect.stringMatching(/unknown mount option "actimeo"/),
    })
  })

  test('one mount local and one nfs: the same files, each with its own semantics', async () => {
    await shell('echo hello > "$1/f"; mkdir "$1/d"', { args: [cli.a] })
    const [mixed] = await cli.json('switch', 'nfs', 'b', '-o', 'actimeo=3600', '--data', cli.data)
    expect(mixed).toMatchObject({ modes: { [cli.a]: 'local', [cli.b]: 'nfs' }, mounts: both() })
    expect(await modes()).toEqual(['nfs', 'local', 'nfs'])
    expect(cli.processes().length).toBe(2)

    // What nfs does is seen by local at once, though its kernel had believed it knew.
    const script = `
      set -e; cd "$1"
      stat -c %s f; cat f; test ! -e d/new; test -e d
      echo longer >> "$2/f"; test "$(stat -c %s f)" = 13; test "$(cat f)" = "$(printf 'hello\\nlonger')"
      echo new > "$2/d/new"; test "$(cat d/new)" = new
      mv "$2/d/new" "$2/d/newer"; test ! -e d/new; test -e d/newer
      chmod 600 "$2/f"; test "$(stat -c %a f)" = 600
      exec 3<f; truncate -s 3 "$2/f"; test "$(cat <&3)" = hel
      rm "$2/d/newer"; test ! -e d/newer; rmdir "$2/d"; test ! -e d`
    await shell(script, { args: [cli.a, cli.b] })
    // What local does is seen by nfs when it opens, and not before.
    await shell('stat "$2/f"; echo again > "$1/f"; stat -c %s "$2/f" | grep -qx 3; grep -qx again "$2/f"', {
      args: [cli.a, cli.b],
    })

    // Other options for the one leave the other alone.
    const server = cli.serving()[0]
    const holder = await holdOpen(join(cli.a, 'f'))
    try {
      const [noac] = await cli.json('switch', 'nfs', 'b', '-o', 'noac', '--data', cli.data)
      expect(noac).toMatchObject({ mounts: [cli.b] })
      expect(cli.serving()[0]).toBe(server)
      const refused = await switchTo('local')
      expect(parseLines(refused.stdout)).toMatchObject([{ event: 'in-use', files: [{ path: join(cli.a, 'f') }] }])
    } finally {
      holder.child.kill('SIGKILL')
    }
    expect((await switchTo('nfs', 'b')).stdout).toMatch(/"event":"unchanged"/)
    expect((await switchTo('nfs', 'a', '-o', 'ro')).stderr).toMatch(/these options would hold for b, too/)

    // The other way round, then both.
    await cli.json('switch', 'nfs', '--data', cli.data)
    expect(await modes()).toEqual(['nfs', 'nfs', 'nfs'])
    await cli.json('switch', 'local', 'b', '--data', cli.data)
    expect(await modes()).toEqual(['nfs', 'nfs', 'local'])
    await cli.json('switch', 'local', '--data', cli.data)
    expect(await modes()).toEqual(['local', 'local', 'local'])
    expect(await run('cat', [join(cli.b, 'f')])).toBe('again\n')
    await cli.json('switch', 'nfs', 'a', '--data', cli.data)
    const [down] = await cli.json('down', '--data', cli.data)
    expect((down as { processes: { ending: string }[] }).processes.map(({ ending }) => ending)).toEqual([
      'closed',
      'closed',
    ])
    expect(mountsUnder(cli.folder)).toEqual([])
    expect(cli.processes()).toEqual([])
  })

  test('an nfs mount outlives what makes its server begin anew, with what programs have open there', async () => {
    await cli.json('switch', 'nfs', '--data', cli.data)
    await shell('echo hello > "$1/f"', { args: [cli.a] })
    const script = `
import fcntl, os, sys
f = os.open(sys.argv[1], os.O_RDWR | os.O_APPEND)
fcntl.lockf(f, fcntl.LOCK_EX)
print("open", flush=True)
sys.stdin.readline()
os.write(f, b"world\\n")
os.fsync(f)
print(os.pread(f, 100, 0), flush=True)
sys.stdin.readline()`
    const holder = spawn('python3', ['-c', script, join(cli.a, 'f')])
    let said = ''
    holder.stdout.on('data', (chunk: Buffer) => {
      said += chunk
    })
    try {
      await until(() => said.includes('open'))
      const [server = 0, mount = 0] = cli.serving()
      const [switched] = await cli.json('switch', 'local', 'b', '--data', cli.data)
      expect(switched).toMatchObject({ mounts: [cli.b], modes: { [cli.a]: 'nfs', [cli.b]: 'local' } })
      expect(cli.serving()).toContain(mount)
      expect(cli.serving()).not.toContain(server)
      holder.stdin.write('\n')
      await until(() => said.includes('world'))
      expect(said).toContain('hello\\nworld')
      expect(await run('cat', [join(cli.b, 'f')])).toBe('hello\nworld\n')
      // Its lock is the server's again once it has been reclaimed.
      const lockType = `
import fcntl, struct, sys
asked = struct.pack("hhqqi", fcntl.F_WRLCK, 0, 0, 0, 0)
print(struct.unpack("hhqqi", fcntl.fcntl(open(sys.argv[1], "r+"), fcntl.F_GETLK, asked))[0] == fcntl.F_WRLCK)`
      while ((await run('python3', ['-c', lockType, join(cli.b, 'f')])) !== 'True\n') await delay(50)

      // The other way round it goes on, too.
      expect(await cli.json('switch', 'nfs', 'b', '--data', cli.data)).toMatchObject([{ mounts: [cli.b] }])
      expect(cli.serving()).toContain(mount)
      expect(holder.exitCode).toBeNull()
    } finally {
      holder.kill('SIGKILL')
    }
    expect(await modes()).toEqual(['nfs', 'nfs', 'nfs'])
  })

  test('open files, working directories and mappings are told, and nothing is changed', async () => {
    await shell('cp /bin/sleep "$1/sleep"; echo hello > "$1/a file"', { args: [cli.a] })
    const programs = [
      await holdOpen(join(cli.a, 'a file')),
      start('sleep', ['50'], { cwd: cli.b }),
      start(join(cli.b, 'sleep'), ['50']),
    ]
    const pids = programs.map(({ child }) => child.pid)
    try {
      await until(() => readFileSync(`/proc/${pids[2]}/comm`, 'utf8') === 'sleep\n')
      const before = cli.serving()
      const refused = await switchTo('nfs')
      expect(refused.code).toBe(1)
      expect(refused.stderr).toMatch(/^proteus: 3 programs use the mounts: .*--force\n$/)
      expect(parseLines(refused.stdout)).toEqual([
        {
          event: 'in-use',
          lost: false,
          files: expect.arrayContaining([
            { pid: pids[0], command: 'python3', path: join(cli.a, 'a file'), use: 'open' },
            { pid: pids[1], command: 'sleep', path: cli.b, use: 'working directory' },
            { pid: pids[2], command: 'sleep', path: join(cli.b, 'sleep'), use: 'mapped' },
          ]),
        },
      ])
      const text = await cli.run('switch', 'nfs', '--data', cli.data)
      expect(text.stdout).toMatch(/^ {2}sleep \(\d+\) +working directory +b$/m)
      expect(cli.serving()).toEqual(before)
      expect(await modes()).toEqual(['local', 'local', 'local'])
      expect(await run('readlink', [`/proc/${pids[0]}/fd/3`])).toBe(`${join(cli.a, 'a file')}\n`)
    } finally {
      for (const { child } of programs) child.kill('SIGKILL')
    }
  })

  test('--force: programs see what a vanished server gives, and all the others the new mode', async () => {
    const file = join(cli.a, 'file')
    await shell('echo hello > "$1"', { args: [file] })
    const script = `
import os, sys
f = os.open(sys.argv[1], os.O_RDWR)
os.write(f, b"HELLO")
print("open", flush=True)
sys.stdin.readline()
try:
    os.fstat(f); os.open("/proc/self/fd/%d" % f, os.O_RDONLY)
except OSError as e:
    print(e.strerror)`
    const holder = spawn('python3', ['-c', script, file])
    let said = ''
    holder.stdout.on('data', (chunk: Buffer) => {
      said += chunk
    })
    try {
      await until(() => said.includes('open'))
      const forced = await switchTo('nfs', '--force')
      expect(forced.code).toBe(0)
      expect(parseLines(forced.stdout)).toMatchObject([
        { event: 'in-use', lost: true, files: [{ pid: holder.pid }] },
        { event: 'switched', mode: 'nfs' },
      ])
      expect(await run('cat', [join(cli.b, 'file')])).toBe('HELLO\n')
      holder.stdin.end('\n')
      await new Promise((resolve) => holder.on('close', resolve))
      expect(said).toMatch(/Transport endpoint is not connected/)
      expect(await modes()).toEqual(['nfs', 'nfs', 'nfs'])
    } finally {
      holder.kill('SIGKILL')
    }
  })

  test('a new mode that cannot be started: the mounts are what they were', async () => {
    await shell('echo hello > "$1/f"', { args: [cli.a] })
    writeFileSync(join(cli.data, 'nfs.key'), 'short')
    const failed = await switchTo('nfs')
    expect(failed.code).toBe(1)
    expect(failed.stderr).toMatch(/^proteus: .*nfs\.key is damaged/)
    expect(await modes()).toEqual(['local', 'local', 'local'])
    expect(await run('cat', [join(cli.b, 'f')])).toBe('hello\n')
    await cli.json('down', '--data', cli.data)
    expect(cli.processes()).toEqual([])
  })

  test('Ctrl-C while a mount waits for its server: back, and from nfs to the same port', async () => {
    await cli.json('switch', 'nfs', '--data', cli.data)
    await shell('echo hello > "$1/f"', { args: [cli.a] })
    const [status] = await cli.json('status', '--data', cli.data)
    const silent = await silentServer()
    try {
      const { port } = silent.address() as { port: number }
      const waiting = cli.start('switch', 'nfs', '-o', `port=${port}`, '--data', cli.data)
      await new Promise((resolve) => silent.once('connection', resolve))
      // A program that goes on meanwhile finds no mount. What it makes then must not be in the way.
      writeFileSync(join(cli.a, 'stray'), '')
      waiting.child.kill('SIGINT')
      const { code, stderr } = await waiting.finished
      expect(code).toBe(1)
      expect(stderr).toMatch(/^. a: written there while nothing was mounted, and now under the mount: stray$/m)
      expect(stderr).toMatch(/^proteus: interrupted: the mounts are nfs, as before$/m)
      const [after] = await cli.json('status', '--data', cli.data)
      expect(after).toMatchObject({ well: true, url: status?.url })
      expect(await run('cat', [join(cli.b, 'f')])).toBe('hello\n')
    } finally {
      silent.close()
    }
  })

  test('a mount whose network is down can be left', async () => {
    await cli.json('switch', 'nfs', '--data', cli.data)
    await shell('echo hello > "$1/f"', { args: [cli.b] })
    await cli.json('net', cli.a, 'down')
    await cli.json('switch', 'local', '--data', cli.data)
    expect(await run('cat', [join(cli.a, 'f')])).toBe('hello\n')
  })

  test('mounts whose server has died can be left', async () => {
    await cli.json('switch', 'nfs', '--data', cli.data)
    await shell('echo hello > "$1/f"', { args: [cli.b] })
    const [server = 0] = cli.serving()
    killNow(server)
    await ended(server)
    await cli.json('switch', 'local', '--data', cli.data)
    expect(await run('cat', [join(cli.a, 'f')])).toBe('hello\n')
    expect(await modes()).toEqual(['local', 'local', 'local'])
  })

  test('a mount that was taken away stays away', async () => {
    await cli.json('unmount', cli.b)
    expect(await cli.json('switch', 'nfs', '--data', cli.data)).toMatchObject([{ mounts: [cli.a] }])
    expect(mountsUnder(cli.folder)).toEqual([cli.a])
    await cli.json('unmount', cli.a)
    expect(await switchTo('local')).toMatchObject({ code: 1 })
  })

  test('what makes no sense is told', async () => {
    expect(await switchTo('nfs', 'elsewhere')).toMatchObject({
      code: 2,
      stderr: 'proteus: elsewhere is not a mount of this lab: it has a, b\n',
    })
    expect(await cli.run('switch', 'nfs', '--data', 'other')).toMatchObject({
      code: 1,
      stderr: 'proteus: nothing runs on other: `proteus up --mode nfs` starts a lab\n',
    })
    await cli.json('switch', 'nfs', 'a', 'b', '--data', cli.data)
    const [status] = await cli.json('status', '--data', cli.data)
    await cli.json('mount', String(status?.url), 'c')
    const refused = await switchTo('local')
    expect(refused).toMatchObject({
      code: 1,
      stderr: "proteus: c: mounted from this lab's server, which is to end: `proteus unmount c` first\n",
    })
    expect(await modes()).toEqual(['nfs', 'nfs', 'nfs'])
  })

  test('a second look at the files, or a mount in them, would be lost unseen: refused', async () => {
    const c = cli.directory('c')
    await shell('mkdir "$1/d" && mount --bind "$1" "$2"', { args: [cli.a, c] })
    expect((await switchTo('nfs')).stderr).toBe('proteus: c is mounted in a, or shows it: unmount it first\n')
    await shell('umount "$2" && mount -t tmpfs none "$1/d"', { args: [cli.a, c] })
    expect((await switchTo('nfs')).stderr).toBe('proteus: a/d is mounted in a, or shows it: unmount it first\n')
    await run('umount', [join(cli.a, 'd')])
    expect((await switchTo('nfs')).code).toBe(0)
  })

  test('down in the middle of one ends it all', async () => {
    const silent = await silentServer()
    try {
      await cli.json('switch', 'nfs', '--data', cli.data)
      const { port } = silent.address() as { port: number }
      const waiting = switchTo('nfs', '-o', `port=${port}`)
      await new Promise((resolve) => silent.once('connection', resolve))
      await cli.json('down', '--data', cli.data)
      expect((await waiting).code).toBe(1)
      expect(mountsUnder(cli.folder)).toEqual([])
      expect(cli.processes()).toEqual([])
    } finally {
      silent.close()
    }
  })

  test('two at the same time: one does it, the other is told', async () => {
    const results = await Promise.all([switchTo('nfs'), switchTo('nfs')])
    const failed = results.filter(({ code }) => code !== 0)
    for (const { stderr } of failed) expect(stderr).toMatch(/another command is at work on the lab on data: try again/)
    expect(failed.length).toBeLessThan(2)
    expect(await modes()).toEqual(['nfs', 'nfs', 'nfs'])
  })
})

describe('up in the foreground', () => {
  test('switches, tells it, and ends what is there by then', async () => {
    const foreground = cli.start('up', ...cli.lab, '--json')
    await ready(foreground)
    await shell('echo hello > "$1/f"', { args: [cli.a] })
    const [nfs] = await cli.json('switch', 'nfs', '--data', cli.data)
    expect(nfs).toMatchObject({ event: 'switched', mode: 'nfs', mounts: both() })
    expect(await modes()).toEqual(['nfs', 'nfs', 'nfs'])
    expect(await run('cat', [join(cli.b, 'f')])).toBe('hello\n')
    await cli.json('switch', 'local', '--data', cli.data)
    await cli.json('switch', 'nfs', '--data', cli.data)

    foreground.child.kill('SIGINT')
    const { code, stdout } = await foreground.finished
    expect(code).toBe(0)
    const events = parseLines(stdout).map(({ event, mode }) => [event, mode])
    expect(events).toEqual([
      ['ready', 'local'],
      ['switched', 'nfs'],
      ['switched', 'local'],
      ['switched', 'nfs'],
      ['stopped', undefined],
    ])
    expect(mountsUnder(cli.folder)).toEqual([])
    expect(cli.processes()).toEqual([])
  })

  test('a lab of both modes is stopped like any other', async () => {
    const foreground = cli.start('up', ...cli.lab, '--json')
    await ready(foreground)
    await cli.json('switch', 'nfs', 'b', '--data', cli.data)
    await shell('echo hello > "$1/f"', { args: [cli.b] })
    writeFileSync(join(cli.data, 'nfs.key'), 'short')
    expect((await switchTo('local', 'b')).code).toBe(0)
    expect((await switchTo('nfs', 'a')).code).toBe(1)
    expect(await modes()).toEqual(['local', 'local', 'local'])
    rmSync(join(cli.data, 'nfs.key'))
    await cli.json('switch', 'nfs', 'a', '--data', cli.data)
    expect(await run('cat', [join(cli.a, 'f')])).toBe('hello\n')
    // Without its only nfs mount the lab still has a local one.
    await cli.json('unmount', cli.a)
    expect(await run('cat', [join(cli.b, 'f')])).toBe('hello\n')
    foreground.child.kill('SIGINT')
    expect((await foreground.finished).code).toBe(0)
    expect(mountsUnder(cli.folder)).toEqual([])
    expect(cli.processes()).toEqual([])
  })

  test('a switch that fails is told to who asked, and the lab goes on', async () => {
    const foreground = cli.start('up', ...cli.lab, '--json')
    await ready(foreground)
    writeFileSync(join(cli.data, 'nfs.key'), 'short')
    const failed = await switchTo('nfs')
    expect(failed).toMatchObject({ code: 1, stderr: expect.stringMatching(/^proteus: .*nfs\.key is damaged/) })
    expect(await modes()).toEqual(['local', 'local', 'local'])
    // A death is still noticed.
    for (const pid of cli.serving()) killNow(pid)
    expect((await foreground.finished).code).toBe(1)
    expect(mountsUnder(cli.folder)).toEqual([])
  })

  test('Ctrl-C there in the middle of a switch stops it all', async () => {
    const foreground = cli.start('up', '--mode', 'nfs', ...cli.lab, '--json')
    await ready(foreground)
    const silent = await silentServer()
    try {
      const { port } = silent.address() as { port: number }
      const waiting = switchTo('nfs', '-o', `port=${port}`)
      await new Promise((resolve) => silent.once('connection', resolve))
      foreground.child.kill('SIGINT')
      expect((await waiting).code).toBe(1)
      expect((await foreground.finished).code).toBe(0)
      expect(mountsUnder(cli.folder)).toEqual([])
      expect(cli.processes()).toEqual([])
    } finally {
      silent.close()
    }
  })

  test('whoever asked and is killed wants it no more', async () => {
    const foreground = cli.start('up', '--mode', 'nfs', ...cli.lab, '--json')
    await ready(foreground)
    const silent = await silentServer()
    try {
      const { port } = silent.address() as { port: number }
      const waiting = cli.start('switch', 'nfs', '-o', `port=${port}`, '--data', cli.data)
      await new Promise((resolve) => silent.once('connection', resolve))
      waiting.child.kill('SIGKILL')
      await waiting.finished
      // A second one is told to wait until the first one has gone back.
      let last = await switchTo('local')
      while (last.code !== 0) last = await switchTo('local')
      expect(await modes()).toEqual(['local', 'local', 'local'])
    } finally {
      silent.close()
    }
  })
})

/** Takes connections and never says anything. */
async function silentServer(): Promise<Server> {
  const server = createServer((socket) => socket.on('error', () => undefined))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return server
}
