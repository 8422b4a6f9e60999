// A switch of a lab that this process watches over: in `up`, and in `switch` itself when the lab is in the background.
import type { OpenLab } from '../../lab/open-lab.ts'
import type { SwitchContext, Switched, SwitchRequest } from '../../lab/switch-channel.ts'
import { unmountUnused } from '../../serving/target.ts'
import { CliError } from '../exit.ts'
import { shown } from './output.ts'

export async function runSwitch(
  open: OpenLab,
  { plan, force }: SwitchRequest,
  { signal, warn }: SwitchContext,
): Promise<Switched> {
  const { lab } = open
  try {
    await open.switchTo(
      { ...plan, data: open.plan.data },
      {
        force,
        signal,
        unmount: unmountUnused,
        onKilled: ({ role, pid }) => warn(`process ${pid} (${role}) did not close in time: killed`),
      },
    )
  } catch (error) {
    if (lab.stopping) throw new CliError('the lab is being stopped', { cause: error })
    throw error
  }
  const limitations = new Set(lab.mounts.flatMap((mount) => mount.limitations))
  return { url: lab.url, processes: lab.processes, limitations: [...limitations] }
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
