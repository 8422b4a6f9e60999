// Programs that people use, at work on a mount: what they make is right, by their own checks and by comparison.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { onEachTarget } from '../support/each-target.ts'
import { run, shell } from '../support/run.ts'
import { scratch } from '../support/targets.ts'

/**
 * Everything that tar and cp keep, one line per entry: type, mode, links, owner, size, mtime in ns, target; then the sums.
 * Sizes of directories and their link counts are up to the file system.
 */
const inventory = (folder: string): Promise<string> =>
  shell(
    `find . -type d -printf '%P %y %m %U:%G %T@\\n' -o -printf '%P %y %m %n %U:%G %s %T@ %l\\n' | LC_ALL=C sort
     find . -type f -print0 | LC_ALL=C sort -z | xargs -0 sha1sum`,
    { cwd: folder },
  )

/** A tree with all that is hard to keep. */
async function hardTree(): Promise<string> {
  const folder = join(scratch('tree'), 'tree')
  await shell(
    `mkdir -p "$1/deep/er/still" "$1/empty" && cd "$1"
     for i in $(seq 40); do head -c $((i * 997)) /dev/zero | tr '\\0' "\\\\$((i % 8))" > "deep/file$i"; done
     ln deep/file1 hard-link; ln deep/file1 deep/er/another; ln -s deep/file2 symbolic; ln -s nowhere dangling
     mkfifo pipe; echo run > program; chmod 4755 program; chmod 2775 empty; chmod 1777 deep/er; chmod 0 deep/file3
     touch "name with  spaces" "$(printf 'new\\nline')" "Ä🐙" "$(printf 'x%.0s' $(seq 250))"
     truncate -s 5M sparse; echo end >> sparse
     touch -d '2001-02-03 04:05:06.123456789' deep/file4 deep/er; touch -h -d '1999-12-31 23:59:59.987654321' symbolic`,
    { args: [folder] },
  )
  return folder
}

onEachTarget('programs on one mount', { mounts: 1 }, (mounts) => {
  test('git: init, add, commit, branch, merge, clone, gc, fsck', async () => {
    const cwd = mounts.a
    await shell(
      `git init -q project && cd project
       for i in $(seq 60); do mkdir -p "dir$((i % 7))"; echo "line $i" > "dir$((i % 7))/file$i"; done
       git add . && git commit -qm first
       git checkout -qb branch && git mv dir1 renamed && git commit -qam second
       git checkout -q - && echo more >> dir2/file2 && git commit -qam third
       git merge -q branch -m merged && git tag -a v1 -m tag
       cd .. && git clone -q project clone && git clone -q --no-hardlinks file://"$PWD"/project far
       cd project && git gc -q && git fsck --strict --full && git stash list
       for other in clone far; do git -C ../$other fsck --strict --full; diff -r -x .git . ../$other; done`,
      { cwd },
    )
    expect(await run('git', ['-C', join(cwd, 'far'), 'status', '--porcelain'])).toBe('')
    expect((await run('git', ['-C', join(cwd, 'clone'), 'log', '--oneline'])).trimEnd().split('\n').length).toBe(4)
  })

  test('tar: there and back with links, modes, owners, sparse files and nanoseconds', async ({ skip }) => {
    const reason = mounts.target.missing.exactTimes
    if (reason !== undefined) skip(reason)
    const tree = await hardTree()
    const before = await inventory(tree)
    const there = join(mounts.a, 'untarred')
    const back = scratch('back')
    const copy = 'mkdir -p "$2" && tar -C "$1" --format=posix -Scf - . | tar -C "$2" -xpf -'
    await shell(copy, { args: [tree, there] })
    expect(await inventory(there)).toBe(before)
    await shell(copy, { args: [there, back] })
    expect(await inventory(back)).toBe(before)
  })

  test('cp -a, mv, and rm -rf', async ({ skip }) => {
    const reason = mounts.target.missing.exactTimes
    if (reason !== undefined) skip(reason)
    const tree = await hardTree()
    const before = await inventory(tree)
    await shell('cp -a "$1" copied && cp -a copied again && mv copied moved', { cwd: mounts.a, args: [tree] })
    for (const name of ['moved', 'again']) expect(await inventory(join(mounts.a, name))).toBe(before)
    await shell('rm -rf moved again', { cwd: mounts.a })
    expect(await run('find', [mounts.a, '-name', 'moved', '-o', '-name', 'again'])).toBe('')
  })

  for (const journal of ['delete', 'wal']) {
    test(`sqlite3 with journal mode ${journal}: three writers and an integrity check`, async ({ skip }) => {
      const reason = journal === 'wal' ? mounts.target.missing.sharedMmap : undefined
      if (reason !== undefined) skip(reason)
      const file = join(mounts.a, `${journal}.db`)
      await sqlite(file, `pragma journal_mode=${journal}; create table t (writer, n); create index i on t (n);`)
      await Promise.all(['a', 'b', 'c'].map((writer) => sqlite(file, inserts(writer, 40))))
      expect(await sqlite(file, 'pragma integrity_check; select count(*), sum(n) from t;')).toBe('ok\n120|2340\n')
    })
  }

  test('gcc: compile, archive, link, run', async () => {
    const cwd = join(mounts.a, 'c')
    await run('mkdir', [cwd])
    const source = scratch('c')
    writeFileSync(join(source, 'part.c'), 'int answer(void) { return 42; }\n')
    writeFileSync(
      join(source, 'main.c'),
      '#include <stdio.h>\nint answer(void);\nint main(void) { printf("%d\\n", answer()); return 0; }\n',
    )
    await shell('cp "$1"/*.c . && gcc -c part.c && ar rcs libpart.a part.o && gcc -g main.c -L. -lpart -o program', {
      cwd,
      args: [source],
    })
    expect(await run(join(cwd, 'program'), [])).toBe('42\n')
    await shell('gcc -shared -fPIC part.c -o libshared.so && gcc main.c -L. -lshared -o dynamic', { cwd })
    expect(await run(join(cwd, 'dynamic'), [], { env: { LD_LIBRARY_PATH: cwd } })).toBe('42\n')
  })

  test('npm: pack and install a package of many files, and run it', async () => {
    const source = join(scratch('npm'), 'package')
    mkdirSync(join(source, 'lib'), { recursive: true })
    const manifest = { name: 'many', version: '1.0.0', type: 'module', main: 'index.js', bin: { many: 'bin.js' } }
    writeFileSync(join(source, 'package.json'), JSON.stringify(manifest))
    const modules = Array.from({ length: 200 }, (_, i) => i)
    for (const i of modules) writeFileSync(join(source, `lib/m${i}.js`), `export default ${i}\n`)
    writeFileSync(
      join(source, 'index.js'),
      `${modules.map((i) => `import m${i} from './lib/m${i}.js'`).join('\n')}\nexport const sum = ${modules.map((i) => `m${i}`).join(' + ')}\n`,
    )
    writeFileSync(join(source, 'bin.js'), "#!/usr/bin/env node\nimport { sum } from 'many'\nconsole.log(sum)\n")
    const env = { npm_config_cache: join(scratch('npm'), 'cache'), npm_config_update_notifier: 'false' }
    const project = join(mounts.a, 'npm')
    await shell(
      `mkdir "$2" && cd "$2" && npm pack --silent "$1" && npm init -y >/dev/null
       npm install --offline --no-audit --no-fund --silent ./many-1.0.0.tgz`,
      { args: [source, project], env },
    )
    expect(await run(join(project, 'node_modules/.bin/many'), [], { cwd: project })).toBe('19900\n')
  })

  test('an editor saves: backup, temporary file, fsync, rename, and the mode stays', async () => {
    const cwd = join(mounts.a, 'editor')
    await run('mkdir', [cwd])
    const save = `
import os, shutil, sys
name, text = sys.argv[1:]
st = os.stat(name)
os.path.exists(name + '~') and os.unlink(name + '~')
os.link(name, name + '~')                      # The backup is the old file.
fd = os.open('.' + name + '.swp', os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
os.write(fd, text.encode()); os.fchmod(fd, st.st_mode & 0o7777); os.fsync(fd); os.close(fd)
os.rename('.' + name + '.swp', name)
folder = os.open('.', os.O_RDONLY | os.O_DIRECTORY); os.fsync(folder); os.close(folder)`
    await shell('echo version0 > text && chmod 640 text', { cwd })
    for (let i = 1; i <= 4; i++) {
      await run('python3', ['-c', save, 'text', `version${i}\n`], { cwd })
      expect(await shell('cat text text~; stat -c %a text; ls -A', { cwd })).toBe(
        `version${i}\nversion${i - 1}\n640\ntext\ntext~\n`,
      )
    }
  })

  test('dd, split, sort and cmp move megabytes', async () => {
    const cwd = join(mounts.a, 'big')
    await run('mkdir', [cwd])
    const sums = await shell(
      `dd if=/dev/urandom of=big bs=64k count=64 status=none
       split -b 1000001 big part. && cat part.* > joined && cmp big joined
       dd if=big of=rewritten bs=1000 conv=fsync status=none && cmp big rewritten
       head -c 500000 big | od -An -tx1 -w8 | sort -u > lines && sort -c lines
       sha1sum < big; sha1sum < joined`,
      { cwd },
    )
    const [first, second] = sums.trimEnd().split('\n')
    expect(first).toBe(second)
  })
})

onEachTarget('programs on two mounts', { mounts: 2, needs: ['coherence'] }, (mounts) => {
  test('git on one mount is seen by git on the other', async () => {
    await shell('git init -q p && cd p && echo 1 > f && git add f && git commit -qm one', { cwd: mounts.a })
    const [inA, inB] = [mounts.a, mounts.b].map((mount) => join(mount, 'p')) as [string, string]
    for (const [here, there] of [
      [inA, inB],
      [inB, inA],
      [inA, inB],
    ] as const) {
      await shell('echo more >> f && git commit -qam more', { cwd: here })
      expect(await shell('git status --porcelain && git fsck --full 2>&1', { cwd: there })).not.toMatch(/error|M f/)
      expect(await shell('git rev-parse HEAD', { cwd: there })).toBe(await shell('git rev-parse HEAD', { cwd: here }))
    }
  })
})

onEachTarget('databases on two mounts', { mounts: 2, needs: ['locks', 'sharedLocks'] }, (mounts) => {
  for (const journal of ['delete', 'wal']) {
    test(`sqlite3 with journal mode ${journal}: writers on both mounts lose nothing`, async ({ skip }) => {
      // The log's index is in memory that all who use the database map.
      const reason = mounts.target.missing.coherence
      if (journal === 'wal' && reason !== undefined) skip(reason)
      const [inA, inB] = [mounts.a, mounts.b].map((mount) => join(mount, `${journal}.db`)) as [string, string]
      await sqlite(inA, `pragma journal_mode=${journal}; create table t (writer, n); create index i on t (n);`)
      await Promise.all([sqlite(inA, inserts('a', 40)), sqlite(inB, inserts('b', 40)), sqlite(inB, inserts('c', 40))])
      for (const file of [inA, inB]) {
        expect(await sqlite(file, 'pragma integrity_check; select count(*), sum(n) from t;')).toBe('ok\n120|2340\n')
      }
    })
  }
})

/** Runs statements; a busy database is waited for. */
const sqlite = async (file: string, statements: string): Promise<string> =>
  (await run('sqlite3', ['-bail', '-cmd', '.timeout 40000', file], { input: statements })).replace(
    /^(delete|wal)\n/,
    '',
  )

/** A transaction for each number. */
const inserts = (writer: string, count: number): string =>
  Array.from({ length: count }, (_, n) => `begin immediate; insert into t values ('${writer}', ${n}); commit;`).join(
    '\n',
  )
