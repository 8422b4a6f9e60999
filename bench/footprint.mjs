// What Proteus costs when nobody asks anything of it: CPU while idle, and memory that it keeps of files which the
// kernel has looked at and forgotten.
import { readFile, writeFile } from 'node:fs/promises'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { run } from './processes.mjs'
import { canDropCaches, withSystem } from './samples.mjs'

const program = fileURLToPath(new URL('files.py', import.meta.url))

/** The collector leaves garbage behind as it likes: only the least of several passes tells what is kept. */
const PASSES = 6
const FILES_PER_FOLDER = 1000
const SETTLE_MS = 3000
const IDLE_MS = 10_000

/** Sample of idle CPU and memory. `folders` of 1000 files each are looked at and forgotten six times. */
export async function sampleFootprint({ folders, settings }) {
  const placement = 'free'
  return withSystem('local', { placement, label: 'footprint', settings }, async ({ mounts, pid }) => {
    const { context } = settings
    const files = (what) =>
      run(['python3', program, what, mounts[0], String(folders), String(FILES_PER_FOLDER)], {
        signal: context.signal,
        timeoutMs: 15 * 60_000,
      })
    const memory = []
    const errors = {}
    if (canDropCaches()) {
      await files('make')
      for (let pass = 0; pass <= PASSES; pass++) {
        if (pass > 0) await files('look')
        // Dentries and inodes: the kernel forgets the files, and tells the daemon so.
        await writeFile('/proc/sys/vm/drop_caches', '2')
        await delay(SETTLE_MS, undefined, context)
        memory.push(await residentMib(pid))
      }
    } else {
      errors.memory_growth_mib = 'only root can make the kernel forget files'
    }
    const idle = await idlePercent(pid, context)
    const figures = {
      idle_cpu_percent: idle,
      memory_start_mib: memory[0] ?? null,
      memory_end_mib: memory.at(-1) ?? null,
      memory_growth_mib: growth(memory.slice(1)),
    }
    const detail = { files: folders * FILES_PER_FOLDER, residentMib: memory }
    return { round: 1, placement, system: 'local', figures, errors, detail }
  })
}

/** From the first half of the passes to the second, comparing the least of each; null without passes. */
function growth(memory) {
  if (memory.length === 0) return null
  const half = memory.length >> 1
  return Math.min(...memory.slice(half)) - Math.min(...memory.slice(0, half))
}

async function residentMib(pid) {
  const status = await readFile(`/proc/${pid}/status`, 'utf8')
  return Number(/^VmRSS:\s*(\d+) kB/m.exec(status)?.[1]) / 1024
}

async function idlePercent(pid, { signal }) {
  const ticksPerSecond = Number(await run(['getconf', 'CLK_TCK'], { signal }))
  await delay(SETTLE_MS, undefined, { signal })
  const before = await cpuTicks(pid)
  await delay(IDLE_MS, undefined, { signal })
  return (((await cpuTicks(pid)) - before) / ticksPerSecond / (IDLE_MS / 1000)) * 100
}

/** utime + stime, fields 14 and 15 of proc_pid_stat(5); the name before them may hold spaces and parentheses. */
async function cpuTicks(pid) {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return Number(fields[11]) + Number(fields[12])
}
