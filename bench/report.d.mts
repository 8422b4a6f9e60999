import type { Sample } from './measures.mjs'
import type { Judged } from './targets.mjs'

/** What one run of the benchmark found; `--json` prints this. */
export interface Result {
  readonly when: string
  readonly machine: {
    readonly cpuModel: string
    readonly cpus: number
    readonly memoryMib: number
    readonly kernel: string
    readonly node: string
    readonly loadBefore: number
    readonly loadAfter: number
  }
  readonly data: { readonly description: string }
  readonly options: { readonly rounds: number }
  readonly samples: readonly Sample[]
  /** What could not be measured and why, one line each. */
  readonly notes: readonly string[]
}

export function report(result: Result): string
/** Empty if there is no figure of these groups in that placement. */
export function figuresTable(
  samples: readonly Sample[],
  wanted: { readonly groups: readonly string[]; readonly placement: string },
): string
export function targetsTable(judged: readonly Judged[]): string
export function formatFigure(metric: string, value: number): string
export function formatRatio(ratio: number | null): string
export function formatTable(rows: readonly (readonly string[])[]): string
