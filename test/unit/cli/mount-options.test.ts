import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import {
  checkModeOptions,
  optionNames,
  type ParsedMountOptions,
  parseMountOptions,
  shareModeOptions,
  withDefaults,
} from '../../../src/cli/support/mount-options.ts'
import { type ModeOption, ModeOptionError } from '../../../src/modes/mode.ts'

const flagsOf = (lists: string[]) => parseMountOptions(lists).flags
const usage = (pattern: RegExp) => expect.objectContaining({ exitCode: 2, message: expect.stringMatching(pattern) })

describe('parseMountOptions', () => {
  test('takes the names of mount.fuse, in lists and in several -o', () => {
    expect(flagsOf(['ro,noexec', 'nosuid,nodev', 'noatime,sync,dirsync,allow_other,default_permissions'])).toEqual({
      ro: true,
      noexec: true,
      nosuid: true,
      nodev: true,
      noatime: true,
      sync: true,
      dirsync: true,
      allowOther: true,
      defaultPermissions: true,
    })
    expect(flagsOf(['fsname=lab=1,subtype=x,max_read=65536'])).toEqual({
      fsname: 'lab=1',
      subtype: 'x',
      maxRead: 65_536,
    })
    expect(flagsOf(['', ','])).toEqual({})
  })

  test('of two opposites the last one counts', () => {
    expect(flagsOf(['ro,rw'])).toEqual({ ro: false })
    expect(flagsOf(['suid,dev,exec,async', 'nosuid'])).toEqual({
      nosuid: true,
      nodev: false,
      noexec: false,
      sync: false,
    })
  })

  test.each([
    ['ro=1', /ro takes no value/],
    ['fsname', /fsname= needs a word/],
    ['fsname=a b', /fsname= needs a word/],
    ['max_read=12', /max_read= needs a number of bytes from 4096 to 1048576/],
    ['max_read=1e6', /max_read=/],
  ])('refuses %s', (option, message) => {
    expect(() => parseMountOptions([option])).toThrow(usage(message))
  })

  test('knows every name that it lists', () => {
    for (const name of optionNames()) {
      const value = name === 'max_read=' ? '4096' : name.endsWith('=') ? 'x' : ''
      expect(parseMountOptions([name + value]).modeOptions).toEqual([])
    }
  })

  test('hands what it does not know to the mode, in order', () => {
    const expected: ParsedMountOptions = {
      flags: { ro: true },
      modeOptions: [
        { name: 'actimeo', value: '3' },
        { name: 'noac' },
        { name: 'x', value: 'a=b' },
        { name: 'toString', value: '' },
      ],
    }
    expect(parseMountOptions(['actimeo=3,ro,noac', 'x=a=b,toString='])).toEqual(expected)
  })
})

describe('checkModeOptions', () => {
  const options = [{ name: 'big_writes' }, { name: 'noac' }]

  test('refuses all for a mode that has none', () => {
    expect(() => checkModeOptions({ name: 'local' }, options)).toThrow(
      usage(/unknown mount option "big_writes"; there are ro, rw, /),
    )
    expect(() => checkModeOptions({ name: 'local' }, [])).not.toThrow()
  })

  test("takes the mode's word, and lets defects through", () => {
    expect(() => checkModeOptions({ name: 'm', checkOptions: () => undefined }, options)).not.toThrow()
    const failWith = (error: Error) => () => {
      const checkOptions = () => {
        throw error
      }
      checkModeOptions({ name: 'm', checkOptions }, options)
    }
    expect(failWith(new ModeOptionError('mount option noac: no'))).toThrow(usage(/^mount option noac: no$/))
    expect(failWith(new TypeError('oops'))).toThrow(TypeError)
  })
})

describe('withDefaults', () => {
  test("root's mounts are for everybody", () => {
    expect(withDefaults({ ro: true }, { root: true, fuseConf: '' })).toEqual({ allowOther: true, ro: true })
  })

  test('others cannot have what fusermount3 never grants', () => {
    for (const flags of [{ nosuid: false }, { nodev: false }])
      expect(() => withDefaults(flags, { root: false, fuseConf: '' })).toThrow(/suid and dev need root/)
    expect(withDefaults({ nosuid: false }, { root: true, fuseConf: '' })).toMatchObject({ nosuid: false })
  })

  test('others need leave from fuse.conf', () => {
    expect(withDefaults({ ro: true }, { root: false, fuseConf: '' })).toEqual({ ro: true })
    const refused = () => withDefaults({ allowOther: true }, { root: false, fuseConf: '#user_allow_other\n' })
    expect(refused).toThrow(/user_allow_other.*fuse\.conf/)
    expect(withDefaults({ allowOther: true }, { root: false, fuseConf: 'mount_max = 9\nuser_allow_other\n' })).toEqual({
      allowOther: true,
    })
  })
})

describe('shareModeOptions', () => {
  /** A mode that knows these options, and their values if they have one. */
  const knowing = (name: string, known: Readonly<Record<string, RegExp>>) => ({
    name,
    checkOptions: (options: readonly ModeOption[]) => {
      for (const { name: option, value = '' } of options) {
        if (known[option] === undefined) throw new ModeOptionError(`mode ${name} has no mount option ${option}`)
        if (!known[option].test(value)) throw new ModeOptionError(`${option}= of mode ${name} needs a number`)
      }
    },
  })
  const nfs = knowing('nfs', { actimeo: /^\d+$/, hard: /^$/ })
  const smb = knowing('smb', { hard: /^$/, cache: /^\d+$/ })
  const local = { name: 'local' }
  const [actimeo, hard, cache] = [{ name: 'actimeo', value: '3' }, { name: 'hard' }, { name: 'cache', value: '1' }]

  test('gives each mode what it knows, in order', () => {
    expect(shareModeOptions([cache, hard, actimeo], [nfs, smb])).toEqual({ nfs: [hard, actimeo], smb: [cache, hard] })
    expect(shareModeOptions([actimeo], [local, nfs])).toEqual({ nfs: [actimeo] })
    expect(shareModeOptions([actimeo], [nfs])).toEqual({ nfs: [actimeo] })
    expect(shareModeOptions([], [local, nfs])).toEqual({})
  })

  test('makes paths absolute for the mode whose they are', () => {
    const afs = { ...knowing('afs', { cachedir: /^/, hard: /^$/ }), pathOptions: ['cachedir'] }
    const [path, absolute] = [
      { name: 'cachedir', value: 'c' },
      { name: 'cachedir', value: resolve('c') },
    ]
    expect(shareModeOptions([path, hard], [afs])).toEqual({ afs: [absolute, hard] })
    expect(shareModeOptions([path, hard], [afs, nfs])).toEqual({ afs: [absolute, hard], nfs: [hard] })
  })

  test('refuses what none knows, in one line', () => {
    expect(() => shareModeOptions([actimeo], [local])).toThrow(usage(/unknown mount option "actimeo"/))
    expect(() => shareModeOptions([hard, { name: 'x' }], [local, nfs])).toThrow(
      usage(/^mode nfs has no mount option x$/),
    )
    const wrong = { name: 'actimeo', value: 'x' }
    const message = /^actimeo= of mode nfs needs a number; mode smb has no mount option actimeo$/
    expect(() => shareModeOptions([wrong], [nfs, smb])).toThrow(usage(message))
  })
})
