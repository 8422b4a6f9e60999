// How many calls an operation costs a network file system, counted by the mount itself (`.proteus/status.json`).
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { run } from './processes.mjs'
import { withSystem } from './samples.mjs'

/** By metric: what is done once before, and what is counted; Python, in the mount. */
const OPERATIONS = {
  calls_read_cached: {
    before: 'put("f", b"x" * 4096); get("f")',
    counted: 'get("f")',
  },
  calls_create_4k: { before: '', counted: 'put("new", b"x" * 4096)' },
  calls_stat_cached: { before: 'put("s", b""); os.stat("s")', counted: 'os.stat("s")' },
  calls_rename: { before: 'put("old", b"")', counted: 'os.rename("old", "renamed")' },
  calls_unlink: { before: 'put("gone", b"")', counted: 'os.unlink("gone")' },
  calls_mkdir: { before: '', counted: 'os.mkdir("d")' },
  calls_list_cached: {
    before: 'os.mkdir("l"); [put(f"l/{i}", b"") for i in range(100)]; listed("l")',
    counted: 'listed("l")',
  },
  calls_write_1m_fsync: {
    before: 'put("w", b"")',
    counted: 'fd = os.open("w", os.O_WRONLY); os.write(fd, b"x" * 2**20); os.fsync(fd); os.close(fd)',
  },
}

const PRELUDE = `
import os, sys
def put(name, data):
    fd = os.open(name, os.O_CREAT | os.O_WRONLY, 0o644); os.write(fd, data); os.close(fd)
def get(name):
    fd = os.open(name, os.O_RDONLY); data = os.read(fd, 65536); os.close(fd); return data
def listed(name):
    return [os.stat(os.path.join(name, one)) for one in os.listdir(name)]
os.chdir(sys.argv[1])
`

/** Calls by operation, and in `detail` which they were. */
export async function sampleCalls(system, { placement, settings }) {
  return withSystem(system, { placement, label: 'calls', settings }, async ({ mounts: [mount] }) => {
    const { signal } = settings.context
    const python = (code) => run(['python3', '-c', PRELUDE + code, mount], { signal })
    const figures = {}
    const detail = {}
    for (const [metric, { before, counted }] of Object.entries(OPERATIONS)) {
      // Whatever the interpreter itself asks of the mount is asked once before.
      await python(before)
      const start = await callsOf(mount)
      await python('')
      const idle = await callsOf(mount)
      await python(counted)
      const end = await callsOf(mount)
      detail[metric] = difference(difference(end, idle), difference(idle, start))
      figures[metric] = Object.values(detail[metric]).reduce((sum, calls) => sum + calls, 0)
    }
    return { round: 1, placement, system, figures, errors: {}, detail }
  })
}

async function callsOf(mount) {
  const { calls, servers } = JSON.parse(await readFile(join(mount, '.proteus/status.json'), 'utf8')).details
  if (calls !== undefined) return calls
  const sum = {}
  for (const server of servers) {
    for (const [name, count] of Object.entries(server.calls)) sum[name] = (sum[name] ?? 0) + count
  }
  return sum
}

/** What `after` has more than `before`, without zeros. */
function difference(after, before) {
  const entries = Object.entries(after).map(([name, calls]) => [name, calls - (before[name] ?? 0)])
  return Object.fromEntries(entries.filter(([, calls]) => calls !== 0))
}
