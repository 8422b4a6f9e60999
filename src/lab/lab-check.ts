// Whether a value that comes from a file or a socket says how a lab is to be: then nothing else is in it.
import type { MountSettings } from './lab-plan.ts'

export const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

export const isStrings = (value: unknown): value is string[] =>
  Array.isArray(value) && value.every((item) => typeof item === 'string')

/** As in `--mode` and in URLs. */
const isModeName = (value: unknown): boolean => typeof value === 'string' && /^[a-z][a-z0-9]*$/.test(value)

const isModeOption = (value: unknown): boolean =>
  isObject(value) && typeof value.name === 'string' && (value.value === undefined || typeof value.value === 'string')

export function isMountSettings(value: unknown): value is MountSettings {
  return (
    isObject(value) &&
    (value.driver === 'kernel' || value.driver === 'portable') &&
    isObject(value.options) &&
    isObject(value.modeOptions) &&
    Object.keys(value.modeOptions).every(isModeName) &&
    Object.values(value.modeOptions).every((options) => Array.isArray(options) && options.every(isModeOption))
  )
}

const isMount = (value: unknown): boolean =>
  isObject(value) && typeof value.target === 'string' && value.target.startsWith('/') && isModeName(value.mode)

/** Its mounts, and what its server serves. */
export function isLayout(value: unknown): boolean {
  return (
    isObject(value) &&
    Array.isArray(value.mounts) &&
    value.mounts.every(isMount) &&
    Array.isArray(value.protocols) &&
    value.protocols.every(isModeName)
  )
}
