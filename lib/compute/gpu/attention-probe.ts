// Finds out, on a device, with how many rows at least attention gives a row the same bits: whatever the rows beside it,
// and whatever lies between the slots that it sees; and what bits a path of many slots has. With the model's own shape: a
// device may choose a kernel by it.

import type { WeightFormat } from '../../model/spec.js'
import { rowViews } from '../attention-batch.js'
import type { HeadGeometry } from '../attention-layer.js'
import type { LinearWeights } from '../linear-weights.js'
import { probeValues, sameBits } from '../probe-values.js'
import { createSession, type Matrix, type Provider, type Session } from '../session.js'
import { attentionGraph, packDeviceAttention } from './attention-graph.js'
import { deviceRuns, WASTE_SLOT, type DeviceSpan } from './attention-runs.js'
import { digestOf, probeRows, type ProbedKernel } from './exact-rows.js'

export interface AttentionProbeShape extends HeadGeometry {
  readonly hidden: number
}

const CHAIN = 40 // rows of a path, with as many others between them
const FIRST_SLOT = WASTE_SLOT + 1
const POOL_SLOTS = 256

/** The least number of rows of a run. */
export function probeDeviceAttention(
  provider: Provider,
  format: WeightFormat,
  shape: AttentionProbeShape,
): ProbedKernel {
  const { hidden, numHeads, numKvHeads, headDim } = shape
  const linear = (inputs: number, outputs: number, seed: number): LinearWeights => ({
    weights: probeValues(inputs * outputs, seed, 0.2),
    inputs,
    outputs,
  })
  const [width, kvWidth, gateWidth] = [numHeads * headDim, numKvHeads * headDim, 16]
  const set = packDeviceAttention(
    {
      norm: probeValues(hidden, 21),
      q: linear(hidden, width, 22),
      k: linear(hidden, kvWidth, 23),
      v: linear(hidden, kvWidth, 24),
      o: linear(width, hidden, 25),
      ffnNorm: probeValues(hidden, 26),
      gate: linear(hidden, gateWidth, 27),
    },
    format,
  )
  const graph = attentionGraph(set, { ...shape, epsilon: 1e-6, gateWidth, isFirst: true, isLast: true })
  const session = createSession(graph, { provider })
  try {
    const run = (x: Float32Array, spans: readonly DeviceSpan[], leastRows: number): Float32Array =>
      runOnce(session, { x, spans, leastRows, shape })
    const alone = (x: Float32Array, rows: number): Float32Array =>
      run(
        x,
        Array.from({ length: rows }, (_, row) => spanOf([row], [-1])),
        1,
      )
    const { leastRows, digest } = probeRows(hidden, alone)
    if (leastRows === Infinity) return { leastRows, digest }
    const { isKept, path } = probePath((x, spans) => run(x, spans, leastRows), hidden)
    return { leastRows: isKept ? leastRows : Infinity, digest: digestOf([digest, path]) }
  } finally {
    session.dispose()
  }
}

/** Rows of one sequence at these slots, of which the first sees itself. */
const spanOf = (slots: readonly number[], parents: readonly number[]): DeviceSpan => ({
  views: rowViews(0, parents, slots.length === 1 ? [0] : slots),
  slots: slots.length === 1 ? [0] : slots,
  table: slots.length === 1 ? [FIRST_SLOT + slots[0]!] : slots.map((slot) => FIRST_SLOT + slot),
})

/** A path's outputs, and whether in a tree with another path between its rows it has the bits of the path alone. */
function probePath(run: (x: Float32Array, spans: readonly DeviceSpan[]) => Float32Array, hidden: number) {
  const x = probeValues(CHAIN * hidden, 28, 4)
  const both = new Float32Array(2 * x.length) // every row of the path twice: the second has parents of its own
  const once = [...Array(CHAIN).keys()]
  const twice = [...Array(2 * CHAIN).keys()]
  for (const row of twice) both.set(x.subarray((row >> 1) * hidden, ((row >> 1) + 1) * hidden), row * hidden)
  const parentsOf = (row: number): number => (row < 2 ? row - 1 : row - 2)
  const path = run(x, [
    spanOf(
      once,
      once.map((row) => row - 1),
    ),
  ])
  const tree = run(both, [spanOf(twice, twice.map(parentsOf))])
  const width = path.length / CHAIN
  const isKept = once.every((row) =>
    sameBits(tree.subarray(2 * row * width, (2 * row + 1) * width), path.subarray(row * width, (row + 1) * width)),
  )
  return { isKept, path }
}

interface ProbeRun {
  readonly x: Float32Array
  readonly spans: readonly DeviceSpan[]
  readonly leastRows: number
  readonly shape: AttentionProbeShape
}

/** Normed rows, gate logits and h of all rows, in order. */
function runOnce(session: Session, { x, spans, leastRows, shape }: ProbeRun): Float32Array {
  const { hidden, numKvHeads, headDim } = shape
  const rows = x.length / hidden
  const tables = new Float32Array(rows * headDim).fill(Math.SQRT1_2) // an eighth of a turn for all
  const slots: Matrix = {
    data: new Float32Array(POOL_SLOTS * numKvHeads * headDim),
    dims: [POOL_SLOTS * numKvHeads, headDim],
  }
  let result = new Float32Array(0)
  for (const run of deviceRuns(spans, tables, { ...shape, leastRows })) {
    const data = new Float32Array(run.places.length * hidden)
    run.places.forEach((row, i) => {
      if (row >= 0) data.set(x.subarray(row * hidden, (row + 1) * hidden), i * hidden)
    })
    const h = { data, dims: [run.spans, run.rows, hidden] }
    const out = session.run({ h, ...run.shared, ...run.shapes, keys: slots, values: slots }).rows!
    const width = out.length / run.places.length
    if (result.length === 0) result = new Float32Array(rows * width)
    run.places.forEach((row, i) => {
      if (row >= 0) result.set(out.subarray(i * width, (i + 1) * width), row * width)
    })
  }
  return result
}
