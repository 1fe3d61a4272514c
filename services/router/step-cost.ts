// What a row of a step costs on one attention worker, learned while it runs: duration ≈ fixed + rows × perRow, fitted by
// least squares with slow forgetting. From it the price of a drafted node: a node pays when its chance to be accepted,
// per millisecond that it adds, beats the tokens per millisecond of the step without it (reference: the price rule of
// expected tokens over step time).

const FORGET = 0.995 // per step: a memory of about 200 steps
const UNKNOWN_PRICE = 0.3
const MIN_ROW_VARIANCE = 0.5

export interface StepCost {
  observe(step: {
    readonly rows: number
    readonly durationMs: number
    readonly sequences: number
    readonly emitted: number
  }): void
  /** The least probability of acceptance at which a drafted node pays, in a step of so many sequences. */
  price(numSequences: number): number
  readonly fixedMs: number
  readonly perRowMs: number
}

export function createStepCost(): StepCost {
  let weight = 0
  let sumRows = 0
  let sumMs = 0
  let sumRowsRows = 0
  let sumRowsMs = 0
  let tokensPerSequence = 1

  const variance = (): number => (weight === 0 ? 0 : sumRowsRows / weight - (sumRows / weight) ** 2)
  const isKnown = (): boolean => weight > 8 && variance() > MIN_ROW_VARIANCE
  const perRow = (): number => Math.max(0, (sumRowsMs / weight - (sumRows / weight) * (sumMs / weight)) / variance())
  const fixed = (): number => Math.max(0, (sumMs - perRow() * sumRows) / weight)

  return {
    observe: ({ rows, durationMs, sequences, emitted }) => {
      weight = weight * FORGET + 1
      sumRows = sumRows * FORGET + rows
      sumMs = sumMs * FORGET + durationMs
      sumRowsRows = sumRowsRows * FORGET + rows * rows
      sumRowsMs = sumRowsMs * FORGET + rows * durationMs
      tokensPerSequence += 0.05 * (emitted / sequences - tokensPerSequence)
    },
    price: (numSequences) => {
      if (!isKnown()) return UNKNOWN_PRICE
      const plainMs = fixed() + perRow() * numSequences
      return plainMs === 0 ? UNKNOWN_PRICE : (perRow() * numSequences * Math.max(1, tokensPerSequence)) / plainMs
    },
    get fixedMs() {
      return isKnown() ? fixed() : 0
    },
    get perRowMs() {
      return isKnown() ? perRow() : 0
    },
  }
}
