/** One run of one system; `figures` by metric, null where there is none. */
export interface Sample {
  readonly round: number
  readonly placement: string
  readonly system: string
  readonly figures: Readonly<Record<string, number | null>>
  readonly errors?: Readonly<Record<string, string>>
}

export interface Selection {
  readonly metric: string
  readonly placement: string
  readonly system: string
}

export interface Summary {
  readonly median: number
  readonly min: number
  readonly max: number
  readonly rounds: number
}

export const metrics: readonly { readonly metric: string; readonly group: string; readonly label: string }[]
export const groups: readonly string[]
export function labelOf(metric: string): string
export function median(values: readonly number[]): number | null
export function isDuration(metric: string): boolean
export function speedRatio(metric: string, value: number | null, reference: number | null): number | null
export function summary(samples: readonly Sample[], wanted: Selection): Summary | null
export function comparison(samples: readonly Sample[], wanted: Selection & { readonly against: string }): number | null
