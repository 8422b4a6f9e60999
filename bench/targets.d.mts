import type { Sample, Selection } from './measures.mjs'

/** Either a speed of at least `atLeast` times that of `against`, or a figure of at most `atMost`. */
export type Target = Selection &
  (
    | { readonly against: string; readonly atLeast: number; readonly atMost?: undefined }
    | { readonly atMost: number; readonly against?: undefined; readonly atLeast?: undefined }
  )

export type Judged = Target & {
  readonly measured: number | null
  readonly verdict: 'ok' | 'short' | 'not measured'
}

export const targets: readonly Target[]
export function judge(samples: readonly Sample[], table?: readonly Target[]): Judged[]
