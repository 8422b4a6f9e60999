// `npm run bench`: measures Proteus beside its peers in one run and says which targets are reached.
// See `--help` (options.mjs), plan.mjs for what is measured, targets.mjs for what is wanted.
import { cpus, loadavg, release, totalmem } from 'node:os'
import { makeDisk, makeScratch } from './disk.mjs'
import { HELP, parseOptions, UsageError } from './options.mjs'
import { makePlan } from './plan.mjs'
import { Cleanup, missingProgram } from './processes.mjs'
import { Progress } from './progress.mjs'
import { report } from './report.mjs'
import { judge } from './targets.mjs'

const EXIT = { failed: 1, usage: 2, interrupted: 130 }

const say = (text) => process.stderr.write(text)

async function main(argv) {
  const options = parseOptions(argv)
  if (options === undefined) {
    process.stdout.write(HELP)
    return
  }
  const obstacle = missingProgram('python3')
  if (obstacle !== undefined) throw new Error(obstacle)

  const cleanup = new Cleanup()
  const interrupted = abortOnSignals()
  try {
    const result = await measure(options, { cleanup, signal: interrupted.signal })
    process.stdout.write(options.json ? `${JSON.stringify(result, null, 1)}\n` : report(result))
  } catch (error) {
    if (!interrupted.signal.aborted) throw error
    process.exitCode = EXIT.interrupted
  } finally {
    for (const error of await cleanup.run()) {
      say(`cleaning up: ${error.message}\n`)
      process.exitCode ||= EXIT.failed
    }
    interrupted.dispose()
  }
}

async function measure(options, context) {
  const when = new Date().toISOString()
  const loadBefore = loadavg()[0]
  const warnings = []
  const { cleanup } = context
  const scratch = await makeScratch(cleanup)
  const { dir, keep } = options
  const disk = await makeDisk({ dir, scratch, keep, cleanup, warn: (text) => warnings.push(text) })
  if (keep) say(`the data stay in ${disk.kept}\n`)
  const place = { data: disk.root, scratch }
  const { steps, notes } = makePlan(options, { place, context, keep, warmUp: options.warmUp })
  const progress = new Progress(steps, { write: say, now: () => performance.now() })
  for (const text of [...warnings, ...notes]) progress.note(text)

  const { samples, failures } = await takeSamples(steps, { progress, signal: context.signal })
  if (samples.length === 0) throw new Error('nothing could be measured')
  return {
    when,
    machine: { ...machine(), loadBefore, loadAfter: loadavg()[0] },
    data: { description: disk.description },
    options,
    samples,
    notes: [...warnings, ...notes, ...failures],
    targets: judge(samples),
  }
}

/** A system that fails once is left out from then on; the others go on. */
async function takeSamples(steps, { progress, signal }) {
  const samples = []
  const failures = []
  const broken = new Set()
  for (const step of steps) {
    signal.throwIfAborted()
    if (!broken.has(step.system)) {
      progress.begin(step)
      try {
        samples.push(...(await step.take()))
      } catch (error) {
        signal.throwIfAborted()
        broken.add(step.system)
        failures.push(`${step.system}: not measured: ${error.message} (${step.title})`)
        progress.note(failures.at(-1))
      }
    }
    progress.end(step)
  }
  return { samples, failures }
}

function machine() {
  const processors = cpus()
  return {
    cpuModel: processors[0]?.model ?? 'CPU',
    cpus: processors.length,
    memoryMib: Math.round(totalmem() / 2 ** 20),
    kernel: release(),
    node: process.versions.node,
  }
}

/** Until `dispose`, signals stop the measurements and leave the time to clean up; more of them change nothing. */
function abortOnSignals() {
  const controller = new AbortController()
  const names = ['SIGINT', 'SIGTERM', 'SIGHUP']
  const onSignal = () => {
    if (controller.signal.aborted) return
    say('\nending what runs and cleaning up …\n')
    controller.abort()
  }
  for (const name of names) process.on(name, onSignal)
  return {
    signal: controller.signal,
    dispose: () => {
      for (const name of names) process.off(name, onSignal)
    },
  }
}

main(process.argv.slice(2)).catch((error) => {
  say(`bench: ${error.message}\n`)
  process.exitCode = error instanceof UsageError ? EXIT.usage : EXIT.failed
})
