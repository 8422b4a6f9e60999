import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ModeOptionError } from '../../../../src/modes/mode.ts'
import { ANYBODY, parseExport } from '../../../../src/modes/nfs/export-line.ts'
import { Export } from '../../../../src/modes/nfs/exports.ts'
import { seed } from '../../../support/random.ts'

const guarded = { readOnly: true, squash: 'root' } as const

describe('a line of exports(5)', () => {
  it.each([
    [
      '/export 10.0.0.7(rw)',
      { path: '/export', directory: '/', clients: ['10.0.0.7'], readOnly: false, squash: 'root' },
    ],
    // As exports(5): read-only, root squashed, and for anybody, unless it says otherwise.
    ['/export', { path: '/export', directory: '/', clients: ANYBODY, ...guarded }],
    ['/export *', { path: '/export', directory: '/', clients: ANYBODY, ...guarded }],
    [
      '  /export/pub/music \t ::1()  ',
      { path: '/export/pub/music', directory: '/pub/music', clients: ['::1'], ...guarded },
    ],
    [
      '/export 127.0.0.1(rw,sync,no_root_squash,insecure,no_subtree_check,sec=sys)',
      {
        ...{ path: '/export', directory: '/', clients: ['127.0.0.1'], readOnly: false, squash: 'none' },
        asynchronous: false,
      },
    ],
    [
      '/export 127.0.0.1(all_squash,no_root_squash,anonuid=1000,anongid=100)',
      {
        ...{ path: '/export', directory: '/', clients: ['127.0.0.1'], readOnly: true, squash: 'all' },
        ...{ anonymousUid: 1000, anonymousGid: 100 },
      },
    ],
    [
      '/export -rw,anonuid=5 10.0.0.0/8 ::1(ro)',
      {
        ...{
          path: '/export',
          directory: '/',
          clients: ['10.0.0.0/8'],
          readOnly: false,
          squash: 'root',
          anonymousUid: 5,
        },
        more: [{ clients: ['::1'], readOnly: true, squash: 'root', anonymousUid: 5 }],
      },
    ],
    ['/export ::1(async)', { path: '/export', directory: '/', clients: ['::1'], ...guarded, asynchronous: true }],
    ['"/export/a b" ::1', { path: '/export/a b', directory: '/a b', clients: ['::1'], ...guarded }],
    ['/export/a\\040b\\303\\274 ::1', { path: '/export/a bü', directory: '/a bü', clients: ['::1'], ...guarded }],
  ])('%s', (line, options) => {
    expect(parseExport(line)).toEqual(options)
  })

  it.each([
    ['', '--export cannot export "": /export is the volume, /export/pub its directory pub'],
    ['/srv 127.0.0.1', 'cannot export "/srv"'],
    ['/exports', 'cannot export "/exports"'],
    ['/export/', 'cannot export "/export/"'],
    ['/export/a//b', 'cannot export'],
    ['/export/../etc', 'cannot export'],
    ['/export 127.0.0.1 (rw)', 'cannot read "(rw)": options stand right behind their client'],
    ['/export 127.0.0.1(rw', 'cannot read "127.0.0.1(rw"'],
    ['/export 127.0.0.1(rw))', 'cannot read'],
    ['/export server(rw)', '"server" is neither an address nor a network such as 10.0.0.0/8, nor * for anybody'],
    ['/export @group(rw)', '"@group" is neither'],
    ['/export ::1(secure)', '--export knows no option "secure"; there are ro, rw, root_squash'],
    ['/export ::1(ro=1)', 'knows no option "ro=1"'],
    ['/export ::1(__proto__)', 'knows no option "__proto__"'],
    ['/export ::1(anonuid=-1)', 'anonuid= needs a number from 0 to 4294967294'],
    ['/export ::1(anongid=)', 'anongid= needs a number'],
  ])('refuses %j', (line, message) => {
    expect(() => parseExport(line)).toThrow(expect.objectContaining({ name: 'ModeOptionError' }))
    expect(() => parseExport(line)).toThrow(message)
  })

  it(`is an export, or one clear mistake, whatever it is (seed ${seed()})`, () => {
    const part = fc.constantFrom(
      '/export',
      '/a',
      ' ',
      '"',
      '(',
      ')',
      ',',
      'rw',
      'all_squash',
      'anonuid=',
      '7',
      '-',
      '::1',
      '*',
      '\\040',
    )
    const line = fc
      .array(fc.oneof(part, part, part, fc.string({ maxLength: 3 })), { maxLength: 12 })
      .map((all) => all.join(''))
    fc.assert(
      fc.property(line, (text) => {
        let options: ReturnType<typeof parseExport>
        try {
          options = parseExport(text)
        } catch (error) {
          expect(error).toBeInstanceOf(ModeOptionError)
          return
        }
        expect(options.path).toMatch(/^\/export/)
        if (!/\0/.test(options.path)) expect(new Export(options).clients.length).toBeGreaterThan(0)
      }),
      { seed: seed(), numRuns: 3000 },
    )
  })
})
