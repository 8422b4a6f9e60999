// What `proteus serve nfs --export` lets whom do, for clients that others wrote (libnfs-utils) and for our own mounts.
import { chmod, mkdir, open, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { NfsLab } from '../support/nfs-lab.ts'
import { run, start } from '../support/run.ts'

const EXPORTS = [
  '/export/pub 127.0.0.0/8(ro,no_root_squash)',
  '/export/home 127.0.0.1(rw)',
  '/export/drop 127.0.0.1(rw,all_squash,anonuid=1234,anongid=1235)',
  '/export/far 10.0.0.0/8(rw)',
]

describe('exports', () => {
  let lab: NfsLab
  let file: string

  beforeAll(async () => {
    lab = await NfsLab.start({ mounts: [[]] })
    const [all = ''] = lab.directories
    for (const name of ['pub', 'home', 'drop', 'far']) {
      await mkdir(join(all, name))
      await writeFile(join(all, name, 'shared'), 'for all\n')
      await writeFile(join(all, name, 'secret'), 'for root\n', { mode: 0o600 })
    }
    await chmod(join(all, 'drop'), 0o777)
    file = join(lab.folder, 'file')
    await writeFile(file, 'dropped\n')
    await lab.killServer()
    await lab.startServer(...EXPORTS.flatMap((line) => ['--export', line]))
  })
  afterAll(() => lab?.end())

  const url = (path: string): string => lab.libnfsUrl(`/export/${path}`, '&uid=0&gid=0')
  const failure = async (program: string, ...args: string[]): Promise<string> => {
    const { code, stderr } = await start(program, args).finished
    expect(code, `${program} ${args}: ${stderr}`).not.toBe(0)
    return stderr
  }

  test('libnfs: read-only', async () => {
    expect(await run('nfs-cat', [url('pub/shared')])).toBe('for all\n')
    expect(await run('nfs-cat', [url('pub/secret')])).toBe('for root\n')
    expect(await failure('nfs-cp', file, url('pub/new'))).toContain('NFS3ERR_ROFS')
  })

  test('libnfs: root is nobody', async () => {
    expect(await run('nfs-cat', [url('home/shared')])).toBe('for all\n')
    expect(await failure('nfs-cat', url('home/secret'))).toContain('ACCESS denied')
    expect(await failure('nfs-cp', file, url('home/new'))).toContain('NFS3ERR_ACCES')
  })

  test('libnfs: all are one', async () => {
    await run('nfs-cp', [file, lab.libnfsUrl('/export/drop/new', '&uid=1000&gid=1000')])
    expect(await run('nfs-ls', [url('drop')])).toMatch(/^-\S+\s+1\s+1234\s+1235\s+8 new$/m)
    expect(await failure('nfs-cat', url('drop/secret'))).toContain('ACCESS denied')
  })

  test('libnfs: only what is exported, and only to whom', async () => {
    expect(await failure('nfs-ls', lab.libnfsUrl('/export'))).toContain('MNT3ERR_NOENT')
    expect(await failure('nfs-ls', url('far'))).toContain('MNT3ERR_ACCES')
    expect(await failure('nfs-ls', url('../export'))).toMatch(/MNT3ERR/)
  })

  test('our mount: read-only', async () => {
    const mount = await lab.mount([], '/pub')
    expect(await readFile(join(mount, 'shared'), 'utf8')).toBe('for all\n')
    await expect(writeFile(join(mount, 'new'), '')).rejects.toMatchObject({ code: 'EROFS' })
    await expect(mkdir(join(mount, 'new'))).rejects.toMatchObject({ code: 'EROFS' })
    expect(await readdir(mount)).toEqual(expect.arrayContaining(['shared', 'secret']))
  })

  test('our mount: a squashed root hears of it when it reads or closes, not when it opens', async () => {
    const mount = await lab.mount([], '/home')
    const secret = await open(join(mount, 'secret'))
    await expect(secret.read()).rejects.toMatchObject({ code: 'EACCES' })
    await secret.close()
    const shared = await open(join(mount, 'shared'), 'r+')
    await shared.write('over')
    await expect(shared.close()).rejects.toMatchObject({ code: 'EACCES' })
    expect(await readFile(join(mount, 'shared'), 'utf8')).toBe('for all\n')
    await expect(mkdir(join(mount, 'new'))).rejects.toMatchObject({ code: 'EACCES' })
  })

  test('our mount: all are one', async () => {
    const mount = await lab.mount([], '/drop')
    await writeFile(join(mount, 'mine'), 'mine')
    expect(await stat(join(mount, 'mine'))).toMatchObject({ uid: 1234, gid: 1235, size: 4 })
  })
})
