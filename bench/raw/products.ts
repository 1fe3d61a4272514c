// What the compute engine's matrix kernels reach at most: one large product, with one thread and with all.
// Also the one-row product of a weight larger than the caches, as a reader of memory beside those of memory.ts.

import { GraphBuilder, type BuiltGraph } from '../../lib/compute/graph.js'
import { linear, packLinear } from '../../lib/compute/linear.js'
import { createSession, type Session } from '../../lib/compute/session.js'
import type { WeightFormat } from '../../lib/model/spec.js'
import { summarise, type Summary } from '../statistics.js'

const INPUTS = 4096
const OUTPUTS = 16_384 // 40 MB and more of weights: no cache of this class holds them

export interface ProductSpeed {
  readonly format: WeightFormat
  readonly rows: number
  readonly threads: number
  readonly weightBytes: number
  readonly gigaflops: Summary // 2 · rows · inputs · outputs per second, 1e9
  readonly weightGigabytesPerSecond: Summary // weight bytes over time: what counts at one row
}

export interface ProductOptions {
  readonly formats: readonly WeightFormat[]
  readonly rows: readonly number[]
  readonly threadCounts: readonly number[]
  readonly repetitions: number
}

/** Weight bytes of the product as the engine holds them: block scales in float32. */
const BYTES_PER_WEIGHT: Readonly<Partial<Record<string, number>>> = { f32: 4, int8: 1 + 4 / 32, int4: 0.5 + 4 / 32 }

export function measureProducts(options: ProductOptions): ProductSpeed[] {
  const results: ProductSpeed[] = []
  const weights = pseudoRandom(INPUTS * OUTPUTS)
  for (const format of options.formats) {
    const model = productGraph(weights, format)
    for (const threads of options.threadCounts) {
      const session = createSession(model, { threads })
      for (const rows of options.rows) {
        const milliseconds = time(session, rows, options.repetitions)
        results.push(speed(milliseconds, { format, rows, threads }))
      }
      session.dispose()
    }
  }
  return results
}

function productGraph(weights: Float32Array, format: WeightFormat): BuiltGraph {
  const graph = new GraphBuilder()
  const x = graph.input('x', ['rows', INPUTS])
  const packed = packLinear('w', { weights, inputs: INPUTS, outputs: OUTPUTS }, format)
  graph.output(linear(graph, x, packed, 'w'), 'y', ['rows', OUTPUTS])
  return graph.build('product')
}

/** Milliseconds per product; small products are repeated inside one measurement. */
function time(session: Session, rows: number, repetitions: number): number[] {
  const inputs = { x: { data: pseudoRandom(rows * INPUTS), dims: [rows, INPUTS] } }
  const runs = Math.max(1, Math.round(8 / rows))
  const milliseconds: number[] = []
  for (let round = 0; round <= repetitions; round++) {
    const started = performance.now()
    for (let run = 0; run < runs; run++) session.run(inputs)
    if (round > 0) milliseconds.push((performance.now() - started) / runs) // the first warms up
  }
  return milliseconds
}

function speed(
  milliseconds: readonly number[],
  of: { readonly format: WeightFormat; readonly rows: number; readonly threads: number },
): ProductSpeed {
  const operations = 2 * of.rows * INPUTS * OUTPUTS
  const bytes = INPUTS * OUTPUTS * (BYTES_PER_WEIGHT[of.format] ?? NaN)
  return {
    ...of,
    weightBytes: bytes,
    gigaflops: summarise(milliseconds.map((ms) => operations / ms / 1e6)),
    weightGigabytesPerSecond: summarise(milliseconds.map((ms) => bytes / ms / 1e6)),
  }
}

/** Values in −1 … 1 from a linear congruence: their values do not matter, denormals would. */
export function pseudoRandom(count: number): Float32Array {
  const values = new Float32Array(count)
  let state = 1
  for (let i = 0; i < count; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    values[i] = state / 2 ** 31 - 1
  }
  return values
}
