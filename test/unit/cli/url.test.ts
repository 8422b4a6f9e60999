import { describe, expect, test } from 'vitest'
import { parseUrl } from '../../../src/cli/support/url.ts'

const parse = (url: string) => parseUrl(url, '/srv')

describe('parseUrl', () => {
  test.each([
    ['local:data', { mode: 'local', directory: '/srv/data', hosts: [], path: '' }],
    ['local:/srv/../data', { mode: 'local', directory: '/data', hosts: [], path: '' }],
    ['nfs://server/export/home', { mode: 'nfs', hosts: [{ host: 'server' }], path: 'export/home' }],
    ['nfs://127.0.0.1:2049/a%20b', { mode: 'nfs', hosts: [{ host: '127.0.0.1', port: 2049 }], path: 'a b' }],
    ['afs://[::1]:7000/vol', { mode: 'afs', hosts: [{ host: '::1', port: 7000 }], path: 'vol' }],
    ['coda://a,b:1,c/v', { mode: 'coda', hosts: [{ host: 'a' }, { host: 'b', port: 1 }, { host: 'c' }], path: 'v' }],
    ['smb://me%40home@nas/share', { mode: 'smb', user: 'me@home', hosts: [{ host: 'nas' }], path: 'share' }],
    ['gfs://master', { mode: 'gfs', hosts: [{ host: 'master' }], path: '' }],
  ])('%s', (url, address) => {
    expect(parse(url)).toEqual(address)
  })

  test.each([
    ['/srv/data', /not a URL such as local:DIR/],
    ['', /not a URL/],
    ['local:', /needs a directory/],
    ['nfs:///export', /not a host name/],
    ['nfs://a:b/export', /not a host name/],
    ['nfs://a:0/export', /no port 0/],
    ['nfs://a:65536/export', /no port 65536/],
    ['coda://a,,b/v', /not a host name/],
    ['smb://me:secret@nas/share', /password does not belong/],
    ['nfs://a/%ff', /bad %-escape/],
  ])('refuses %s', (url, message) => {
    const refused = expect.objectContaining({ exitCode: 2, message: expect.stringMatching(message) })
    expect(() => parse(url)).toThrow(refused)
  })
})
