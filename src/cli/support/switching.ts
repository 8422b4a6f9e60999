// A switch of a lab that this process watches over: in `up`, and in `switch` itself when the lab is in the background.
import { isDeepStrictEqual } from 'node:util'
import { modesOf, targetsIn } from '../../lab/lab-plan.ts'
import type { OpenLab } from '../../lab/open-lab.ts'
import type { SwitchContext, Switched, SwitchRequest } from '../../lab/switch-channel.ts'
import { fuseMountedOf, readMountTable } from '../../serving/mount-table.ts'
import { unmountUnused } from '../../serving/target.ts'
import { CliError } from '../exit.ts'
import { shown } from './output.ts'

export async function runSwitch(
  open: OpenLab,
  { plan, force }: SwitchRequest,
  { signal, warn }: SwitchContext,
): Promise<Switched> {
  const { lab } = open
  checkStill(open, targetsIn(plan))
  try {
    await open.switchTo(
      { ...plan, data: open.plan.data },
      {
        force,
        signal,
        unmount: unmountUnused,
        onHidden: (target, names) =>
          warn(
            `${shown(target)}: written there while nothing was mounted, and now under the mount: ${names.join(', ')}`,
          ),
        onKilled: ({ role, pid }) => warn(`process ${pid} (${role}) did not close in time: killed`),
      },
    )
  } catch (error) {
    if (lab.stopping) throw new CliError('the lab is being stopped', { cause: error })
    throw error
  }
  const limitations = new Set(lab.mounts.flatMap((mount) => mount.limitations))
  return { urls: lab.urls, modes: modesOf(open.plan), processes: lab.processes, limitations: [...limitations] }
}

/** Refuses a plan that was made for other mounts: in the midst of another switch, some of them were not there. */
function checkStill(open: OpenLab, targets: readonly string[]): void {
  const mounted = fuseMountedOf(targetsIn(open.plan), readMountTable())
  if (isDeepStrictEqual(new Set(mounted), new Set(targets)) && !open.isSwitching) return
  throw new CliError('the mounts of the lab are being changed: try again')
}

/** `mount/a: mode local, mount/b: mode nfs`. */
export function describeModes(modes: Switched['modes']): string {
  const targets = Object.entries(modes)
  const groups = [...new Set(Object.values(modes))].map((mode) => {
    const paths = targets.filter(([, itsMode]) => itsMode === mode).map(([target]) => shown(target))
    return `${paths.join(', ')}: mode ${mode}`
  })
  return `${groups.join('; ')} now`
}

/** What happens to mounts on the way, told in a line each. */
export function watchful(warn: (text: string) => void) {
  return {
    onBusy: ({ target, users }: { readonly target: string; readonly users: readonly string[] }) => {
      const who = users.length > 0 ? ` by ${users.join(', ')}` : ''
      warn(`${shown(target)} is in use${who}: it is detached, what is open there ends soon`)
    },
    onCleaned: (target: string) => warn(`${shown(target)} had a mount whose server had died: cleaned`),
  }
}
