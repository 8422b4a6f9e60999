// Opening a volume: making it, finding it again, refusing it, and clearing up after a crash.
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import fs from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { Volume } from '../../../src/store/volume.ts'
import {
  checkVolume,
  codeOf,
  contentOf,
  file,
  folder,
  ManualClock,
  names,
  openVolume,
  put,
  root,
  scratch,
  treeOf,
} from './volume-fixture.ts'

describe('a volume', () => {
  it('is made, closed and found again', async () => {
    const directory = join(scratch(), 'deep', 'volume')
    const volume = await openVolume(directory)
    const { id } = volume
    expect(id).toMatch(/^[0-9a-f]{32}$/)
    const d = folder(volume, 1, 'd')
    const f = file(volume, d, 'f')
    put(volume, f, 'text')
    const before = [
      treeOf(volume, { numbers: true }),
      [d, f].map((ino) => [volume.generation(ino), volume.changeOf(ino)]),
    ]
    await volume.close()
    await volume.close()
    expect(codeOf(() => file(volume, 1, 'x'))).toBe('EIO')
    expect(fs.readdirSync(directory).sort()).toEqual(['content', 'journal', 'volume.db'])
    const again = await openVolume(directory)
    expect(again.id).toBe(id)
    expect([
      treeOf(again, { numbers: true }),
      [d, f].map((ino) => [again.generation(ino), again.changeOf(ino)]),
    ]).toEqual(before)
    expect(again.generation(file(again, 1, 'new'))).not.toBe(volume.root)
  })

  it('is refused while another process has it', async () => {
    const directory = scratch()
    const worker = fileURLToPath(new URL('volume-worker.mjs', import.meta.url))
    const child = spawn(process.execPath, [worker, directory, '0'], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(child.stdout, 'data')
    await expect(Volume.open(directory)).rejects.toThrow(`the volume ${directory} is in use by process ${child.pid}`)
    child.stdout.resume()
    child.kill('SIGKILL')
    await once(child, 'exit')
    await checkVolume(await openVolume(directory), directory)
  })

  it('is refused while it is open in this process', async () => {
    const directory = scratch()
    const volume = await openVolume(directory)
    await expect(Volume.open(directory)).rejects.toThrow('in use')
    file(volume, 1, 'a')
  })

  it('clears up what a crash left: inodes without a name, content without an inode, inodes without content', async () => {
    const directory = scratch()
    const volume = await openVolume(directory, { clock: new ManualClock() })
    const open = file(volume, 1, 'open')
    put(volume, open, 'unlinked')
    volume.hold(open, 1)
    volume.unlink(1, 'open', root)
    const temporary = volume.createTemporary(1, 0o600, root)
    volume.hold(temporary, 1)
    put(volume, temporary, 'temporary')
    file(volume, 1, 'gone')
    volume.unlink(1, 'gone', root)
    const lost = file(volume, 1, 'lost')
    put(volume, lost, 'lost')
    put(volume, file(volume, 1, 'kept'), 'kept')
    const copy = scratch()
    fs.cpSync(directory, copy, { recursive: true })
    fs.writeFileSync(join(copy, 'content/00/77777777'), 'no inode')
    fs.rmSync(join(copy, `content/00/${lost}`))
    const reported: string[] = []
    const again = await openVolume(copy, { onBackgroundError: (error) => reported.push(error.message) })
    expect(names(again, 1).sort()).toEqual(['kept', 'lost'])
    expect(codeOf(() => again.attributes(open))).toBe('ESTALE')
    expect(contentOf(again, lost)).toBe('')
    expect(reported).toEqual([`the content of inode ${lost} was missing; it is empty now`])
    await checkVolume(again, copy)
    expect(file(again, 1, 'new')).toBeGreaterThan(lost)
  })

  it('counts content that was written before a crash as changed', async () => {
    const directory = scratch()
    const volume = await openVolume(directory, { clock: new ManualClock() })
    const f = file(volume, 1, 'f')
    put(volume, f, 'one')
    const content = volume.openContent(f, 2, root)
    fs.writeSync(content.fd, 'written past the daemon', 0)
    const told = volume.changeOf(f)
    const copy = scratch()
    fs.cpSync(directory, copy, { recursive: true, preserveTimestamps: true })
    const again = await openVolume(copy)
    expect(contentOf(again, f)).toBe('written past the daemon')
    expect(again.changeOf(f).change).toBeGreaterThan(told.change)
    expect(again.changeOf(f).dataVersion).toBeGreaterThan(told.dataVersion)
    volume.closeContent(content)
  })
})

describe.skipIf(process.getuid?.() !== 0)('a disk that is full (needs root: mounts a tmpfs)', () => {
  it('refuses what does not fit, keeps what was acknowledged, and lets files be deleted', async () => {
    const directory = scratch()
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', directory])
    try {
      const clock = new ManualClock()
      const reported: string[] = []
      const options = { clock, onBackgroundError: (error: Error) => reported.push(error.message) }
      const volume = await openVolume(directory, options)
      const d = folder(volume, 1, 'd')
      const filler = file(volume, 1, 'filler')
      const content = volume.openContent(filler, 1, root)
      let offset = 0
      const full = () => {
        offset += volume.write(content, Buffer.alloc(65_536), offset)
      }
      let code: string | undefined
      while (code === undefined) code = codeOf(full)
      expect(code).toBe('ENOSPC')
      volume.closeContent(content)
      const refused = () => {
        for (let n = 0; n < 20_000; n++) if (codeOf(() => folder(volume, d, `sub${n}`)) === 'ENOSPC') return n
        throw new Error('the disk never filled up')
      }
      const made = refused()
      // SQLite cannot commit now, but the journal has space set aside for deletions.
      clock.advance(2000)
      expect(reported[0]).toContain('cannot commit')
      for (let n = 0; n < made / 2; n++) volume.removeDirectory(d, `sub${n}`, root)
      expect(codeOf(() => file(volume, d, 'more'))).toBe('ENOSPC')
      volume.unlink(1, 'filler', root)
      await volume.sync()
      folder(volume, d, 'more')
      const left = names(volume, d).length
      clock.advance(2000)
      await volume.close()
      const again = await openVolume(directory, options)
      expect(names(again, d).length).toBe(left)
      await checkVolume(again, directory)
      await again.close()
    } finally {
      execFileSync('umount', ['-l', directory])
    }
  })
})
