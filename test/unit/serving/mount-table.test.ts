import { describe, expect, test } from 'vitest'
import {
  entangledWith,
  isFuse,
  isProbablyOurs,
  mountedOn,
  mountOf,
  parseMountTable,
} from '../../../src/serving/mount-table.ts'

const TABLE = parseMountTable(`\
22 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw
90 22 0:50 / /srv/mount/a rw,nosuid - fuse.proteus proteus:local rw,user_id=0
91 22 0:51 / /srv/a\\040b\\134c rw - fuse.sshfs me@host:/x\\011y rw
92 90 0:52 / /srv/mount/a rw shared:9 master:2 - tmpfs none rw
93 22 0:53 / /srv/\\303\\274 rw - fuse.lab proteus:nfs rw
94 nonsense
`)

describe('mount table', () => {
  test('is read with escapes and optional fields', () => {
    expect(TABLE.map(({ target }) => target)).toEqual(['/', '/srv/mount/a', '/srv/a b\\c', '/srv/mount/a', '/srv/ü'])
    expect(TABLE[2]).toEqual({ target: '/srv/a b\\c', device: '0:51', type: 'fuse.sshfs', source: 'me@host:/x\ty' })
  })

  test('tells the uppermost mount on a directory', () => {
    expect(mountedOn('/srv/mount/a', TABLE)?.type).toBe('tmpfs')
    expect(mountedOn('/srv/mount', TABLE)).toBeUndefined()
  })

  test('tells the mount that a path is in', () => {
    expect(mountOf('/srv/mount/a/x/y', TABLE)?.type).toBe('tmpfs')
    expect(mountOf('/srv/mount/ab', TABLE)?.target).toBe('/')
    expect(mountOf('/srv/ü', TABLE)?.target).toBe('/srv/ü')
  })

  test('tells ours from others', () => {
    expect(TABLE.filter(isFuse).map(({ type }) => type)).toEqual(['fuse.proteus', 'fuse.sshfs', 'fuse.lab'])
    expect(TABLE.filter(isProbablyOurs).map(({ type }) => type)).toEqual(['fuse.proteus', 'fuse.lab'])
  })

  test('tells what would go with a mount, or keep it alive', () => {
    const table = parseMountTable(`\
90 22 0:50 / /m/a rw - fuse.proteus proteus:local rw
91 22 0:51 / /m/ab rw - fuse.proteus proteus:local rw
92 90 0:52 / /m/a/inside rw - tmpfs none rw
93 22 0:50 /sub /elsewhere rw - fuse.proteus proteus:local rw
`)
    expect(entangledWith('/m/a', table).map(({ target }) => target)).toEqual(['/m/a/inside', '/elsewhere'])
    expect(entangledWith('/m/ab', table)).toEqual([])
    expect(entangledWith('/m/none', table)).toEqual([])
  })
})
