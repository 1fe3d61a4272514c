// Quantities as people write them (64Gi, 200GB/s, 10Gb/s) and as the plan prints them.

import { ClusterError } from '../errors.js'

const POWERS: Readonly<Record<string, number>> = {
  '': 1,
  k: 1e3,
  M: 1e6,
  G: 1e9,
  T: 1e12,
  Ki: 2 ** 10,
  Mi: 2 ** 20,
  Gi: 2 ** 30,
  Ti: 2 ** 40,
}

function quantity(text: string, pattern: RegExp, wants: string): { readonly value: number; readonly unit: string } {
  const [, digits, prefix = '', unit = ''] = pattern.exec(text) ?? []
  const value = Number(digits) * (POWERS[prefix] ?? NaN)
  if (!(value > 0) || !Number.isFinite(value))
    throw new ClusterError('invalid_argument', `want ${wants}, found ${JSON.stringify(text)}`)
  return { value, unit }
}

const NUMBER = '(\\d+(?:\\.\\d+)?|\\.\\d+)'

/** Bytes: 64Gi, 16G, 512Mi; the unit must stand there. */
export const parseMemory = (text: string): number =>
  quantity(text, new RegExp(`^${NUMBER}([kMGT]|[KMGT]i)B?$`), 'memory as in 64Gi or 16G').value

/** Bytes a second: 200GB/s, 10Gb/s (bits). */
export function parseRate(text: string): number {
  const wants = 'a rate as in 200GB/s, or 10Gb/s in bits'
  const { value, unit } = quantity(text, new RegExp(`^${NUMBER}([kMGT]|[KMGT]i)(B|b)(?:/s|ps)$`), wants)
  return unit === 'b' ? value / 8 : value
}

/** Operations a second: 20TFLOPS. */
export const parseOperations = (text: string): number =>
  quantity(text, new RegExp(`^${NUMBER}([GT])(?:FLOPS|flops|FLOP/s)$`), 'operations as in 20TFLOPS').value

/** Processors: 16, 3.5 or 500m. */
export function parseProcessors(text: string): number {
  if (/^\d+m$/.test(text) && Number(text.slice(0, -1)) > 0) return Number(text.slice(0, -1)) / 1000
  return quantity(text, new RegExp(`^${NUMBER}$`), 'processors as in 16, 3.5 or 500m').value
}

const round = (value: number): string =>
  value >= 100
    ? value.toFixed(0)
    : value >= 10
      ? value.toFixed(1)
      : value >= 0.995
        ? value.toFixed(2)
        : value.toPrecision(2)

function scaled(value: number, unit: string): string {
  const steps: readonly (readonly [number, string])[] = [
    [1e12, 'T'],
    [1e9, 'G'],
    [1e6, 'M'],
    [1e3, 'k'],
  ]
  const [power, prefix] = steps.find(([least]) => value >= least) ?? [1, '']
  return `${round(value / power)} ${prefix}${unit}`
}

export const showBytes = (bytes: number): string => scaled(bytes, 'B')
export const showRate = (bytesPerSecond: number): string => scaled(bytesPerSecond, 'B/s')
export const showMs = (ms: number): string => `${round(ms)} ms`
export const showNumber = (value: number): string => (Number.isInteger(value) ? String(value) : round(value))

const MEBI = 2 ** 20

/** A Kubernetes quantity of whole mebibytes, rounded up. */
export const memoryQuantity = (bytes: number): string => `${Math.ceil(bytes / MEBI)}Mi`

/** A Kubernetes quantity of processors. */
export const processorQuantity = (cpus: number): string =>
  Number.isInteger(cpus) ? String(cpus) : `${Math.round(cpus * 1000)}m`
