// Fits a time to non-negative terms while the times come in: weighted least squares on their products, solved by
// coordinate descent that stops at zero. It is fitted to relative deviations, so that a step of 3 ms counts like one of
// 300 ms, and to their absolute values (a weight of 1 / deviation), so that it follows the median and not the mean.
//
// Invariants
//   F1  No coefficient is below zero: more work is never predicted to take less time.
//   F2  Memory is bounded: NUM_CLASSES × terms², whatever was observed.
//   F3  A straggler counts as a deviation of at most CLIP times the usual one.
//   F4  A class of sizes forgets by its own steps only: an hour of decoding does not blur what a prefill costs.
//
// A machine that others use as well is slower for a while, whatever the step: `level` follows that within a few steps,
// and the coefficients see the times with most of it taken out.

const NUM_CLASSES = 10
const FORGET = 0.99 // per step of a class; faster at first, as the first steps of a process are slower than any later
const CLIP = 3
const TRUSTED = 4 // steps of a class after which it counts, and a deviation may be called an outlier
const LEAST_DEVIATION = 0.05
const DEVIATION_RATE = 0.02
const LEVEL_RATE = 0.35
const LEVEL_SHARE = 0.8 // of the level is kept from the coefficients: what lasts becomes theirs, whatever steps it came with
const MAX_LEVEL = 3
const LEAST_VALUE = 1e-6 // ms: so that no square over- or underflows
const MOST_VALUE = 1e9
const SWEEPS = 8
const RIDGE = 1e-3 // on all terms but the first: what the steps do not tell apart is counted as fixed

export interface FitState {
  readonly coefficients: readonly number[]
  readonly deviation: number // the usual |error| / predicted
  readonly level: number // log of now / coefficients
  readonly numObserved: number
  readonly classes: readonly ClassState[] // [NUM_CLASSES]
}

export interface ClassState {
  readonly products: readonly number[] // [terms * terms]
  readonly moments: readonly number[] // [terms]
  readonly weight: number
}

export interface Fit {
  /** In the unit of what was observed; 0 before anything was. */
  predict(terms: readonly number[]): number
  /** `size` ≥ 1 (rows) decides the class by its logarithm; what cannot be a time is left out. */
  observe(terms: readonly number[], value: number, size: number): void
  readonly coefficients: readonly number[]
  readonly numObserved: number
  readonly numClasses: number // of which enough steps were seen
  snapshot(): FitState
}

export const sizeClass = (size: number): number => Math.min(NUM_CLASSES - 1, Math.ceil(Math.log2(Math.max(1, size))))

/** The first term must be the constant one. A state comes from `snapshot` of a fit with as many terms. */
export function createFit(numTerms: number, state: FitState = emptyState(numTerms)): Fit {
  const coefficients = Float64Array.from(state.coefficients)
  const classes = state.classes.map(copyClass)
  let { deviation, level, numObserved } = state

  const base = (terms: readonly number[]): number => {
    let sum = 0
    for (let i = 0; i < numTerms; i++) sum += coefficients[i]! * (terms[i] ?? 0)
    return sum
  }

  /** The value with what is out of the usual cut off. */
  const clipped = (value: number, predicted: number): number => {
    const share = (value - predicted) / predicted
    deviation = within(deviation * (1 + DEVIATION_RATE * (Math.abs(share) > deviation ? 1 : -1)), 0.02, 1)
    const limit = CLIP * deviation
    return predicted * (1 + within(share, -Math.min(0.9, limit), limit))
  }

  const follow = (value: number, fitted: number): void => {
    const step = within(Math.log(value / fitted) - level, -deviation, deviation)
    level = within(level + LEVEL_RATE * step, -MAX_LEVEL, MAX_LEVEL)
  }

  const observe: Fit['observe'] = (terms, value, size) => {
    const group = classes[sizeClass(size)]
    if (group === undefined || !(value >= LEAST_VALUE && value <= MOST_VALUE) || !terms.every(Number.isFinite)) return
    const fitted = base(terms)
    const predicted = fitted * Math.exp(level)
    const isTrusted = group.weight >= TRUSTED && predicted > 0
    const kept = isTrusted ? clipped(value, predicted) : value
    if (isTrusted) follow(value, fitted)
    const scale = isTrusted ? fitted : value
    const relative = isTrusted ? Math.abs(kept - predicted) / predicted : LEAST_DEVIATION
    const weight = LEAST_DEVIATION / Math.max(relative, LEAST_DEVIATION) / scale ** 2
    accumulate(group, { terms, value: kept / Math.exp(level * LEVEL_SHARE), weight })
    numObserved += 1
    solve(classes, coefficients)
  }

  return {
    predict: (terms) => base(terms) * Math.exp(level),
    observe,
    get coefficients() {
      return Array.from(coefficients, (value) => value * Math.exp(level))
    },
    get numObserved() {
      return numObserved
    },
    get numClasses() {
      let count = 0
      for (const { weight } of classes) if (weight >= TRUSTED) count += 1
      return count
    },
    snapshot: () => ({
      coefficients: [...coefficients],
      deviation,
      level,
      numObserved,
      classes: classes.map(({ products, moments, weight }) => ({
        products: [...products],
        moments: [...moments],
        weight,
      })),
    }),
  }
}

interface Group {
  readonly products: Float64Array // [terms * terms]
  readonly moments: Float64Array // [terms]
  weight: number
}

const copyClass = ({ products, moments, weight }: ClassState): Group => ({
  products: Float64Array.from(products),
  moments: Float64Array.from(moments),
  weight,
})

function emptyState(numTerms: number): FitState {
  const zeros = (count: number): number[] => new Array<number>(count).fill(0)
  const classes = Array.from({ length: NUM_CLASSES }, () => ({
    products: zeros(numTerms * numTerms),
    moments: zeros(numTerms),
    weight: 0,
  }))
  return { coefficients: zeros(numTerms), deviation: 0.3, level: 0, numObserved: 0, classes }
}

interface Observation {
  readonly terms: readonly number[]
  readonly value: number
  readonly weight: number
}

function accumulate(group: Group, { terms, value, weight }: Observation): void {
  const { products, moments } = group
  const n = terms.length
  const kept = Math.min(FORGET, 1 - 1 / (group.weight + 2))
  for (let i = 0; i < n; i++) {
    const weighted = weight * terms[i]!
    moments[i] = moments[i]! * kept + weighted * value
    for (let j = 0; j < n; j++) products[i * n + j] = products[i * n + j]! * kept + weighted * terms[j]!
  }
  group.weight = group.weight * FORGET + 1 // how many steps were seen, whatever they still count
}

/** A few sweeps of coordinate descent from where the coefficients are; each step moves them little (F1). */
function solve(classes: readonly Group[], coefficients: Float64Array): void {
  const n = coefficients.length
  const seen = classes.filter(({ weight }) => weight > 0)
  const products = seen.map((group) => group.products).reduce(sumOf)
  const moments = seen.map((group) => group.moments).reduce(sumOf)
  for (let sweep = 0; sweep < SWEEPS; sweep++) {
    for (let i = 0; i < n; i++) {
      const own = products[i * n + i]!
      if (own === 0) continue
      let rest = moments[i]! + own * coefficients[i]!
      for (let j = 0; j < n; j++) rest -= products[i * n + j]! * coefficients[j]!
      coefficients[i] = Math.max(0, rest / (i === 0 ? own : own * (1 + RIDGE)))
    }
  }
}

function sumOf(a: Float64Array, b: Float64Array): Float64Array {
  const sum = a.slice()
  for (let i = 0; i < b.length; i++) sum[i]! += b[i]!
  return sum
}

const within = (value: number, least: number, most: number): number => Math.min(most, Math.max(least, value))
