// Experts on the CPU engine: round the rows, gate and up in one product, activation, down, sums. Each is one phase over
// all touched experts, so that every thread has work and an untouched expert costs nothing.
//
// Invariants
//   E1  A sum adds its terms in the order of its list; the first is copied, not added to zero.

import type { WeightFormat } from '../model/spec.js'
import { OP, type Kernels, type Phase } from './kernels.js'
import { stack, type LinearWeights } from './linear-weights.js'
import { linearTasks, placeLinear, roundingTasks, type PlacedLinear } from './placed-linear.js'
import { cut } from './room.js'
import { packTiles } from './tiles.js'
import type { WeightSet } from './weight-store.js'

export interface ExpertWeights {
  readonly gate: LinearWeights
  readonly up: LinearWeights
  readonly down: LinearWeights
}

/** The weights `name.gate_up` (one product) and `name.down` of one expert. */
export function packExpert(name: string, { gate, up, down }: ExpertWeights, format: WeightFormat): WeightSet {
  return { ...packTiles(`${name}.gate_up`, stack([gate, up]), format), ...packTiles(`${name}.down`, down, format) }
}

/** An expert in the engine's memory. */
export interface PlacedExpert {
  readonly gateUp: PlacedLinear
  readonly down: PlacedLinear
  dispose(): void
}

/** Copies an expert packed by `packExpert` into the engine's memory. */
export function placeExpert(kernels: Kernels, set: WeightSet, name: string): PlacedExpert {
  const gateUp = placeLinear(kernels, set, `${name}.gate_up`)
  const down = placeLinear(kernels, set, `${name}.down`)
  return {
    gateUp,
    down,
    dispose: () => {
      gateUp.dispose()
      down.dispose()
    },
  }
}

/** Rows that go through one expert; each is an entry of the call. */
export interface ExpertRows {
  readonly expert: PlacedExpert
  readonly rows: ArrayLike<number> // places in x
  readonly weights: ArrayLike<number>
}

export interface ExpertWork {
  readonly x: Float32Array // [numRows, hidden]
  readonly hidden: number
  readonly calls: readonly ExpertRows[]
  /** Entries, counted through all calls, that each row of the result adds up. */
  readonly sums: readonly (readonly number[])[]
}

/** Pieces of a phase for each thread: the last to finish keeps the others waiting for one piece at most. */
const PIECES_PER_THREAD = 4

/** Sums over entries of weight · down(silu(gate(x)) · up(x)): [sums.length, hidden]. */
export function computeExperts(kernels: Kernels, work: ExpertWork): Float32Array {
  if (work.sums.length === 0) return new Float32Array(0)
  kernels.scratch.reset()
  const input = placeInput(kernels, work)
  const terms = placeTerms(kernels, work)
  const calls = placeCalls(kernels, work.calls, terms)
  const pieces = Math.ceil((PIECES_PER_THREAD * kernels.threads) / calls.length)
  kernels.run([
    input.tasks,
    calls.flatMap((call) => upTasks(call, input, pieces)),
    calls.flatMap((call) => activationTasks(call, kernels.threads)),
    calls.flatMap((call) => downTasks(call, terms, pieces)),
    sumTasks(kernels, work.sums, terms),
  ])
  return terms.read()
}

/** The rows as they came and, where a product reads them so, rounded. */
function placeInput(kernels: Kernels, { x, hidden, calls }: ExpertWork) {
  const { scratch, threads } = kernels
  const rows = x.length / hidden
  const floats = scratch.take(x.byteLength)
  kernels.floats(floats, x.length).set(x)
  const reader = calls.find(({ expert }) => expert.gateUp.blocks > 0)?.expert.gateUp
  if (reader === undefined) return { floats, rounded: 0, tasks: [] }
  const rounded = scratch.take(rows * reader.rowBytes)
  return { floats, rounded, tasks: roundingTasks(reader, { x: floats, stride: hidden * 4, rows, y: rounded }, threads) }
}

type Input = ReturnType<typeof placeInput>
type Terms = ReturnType<typeof placeTerms>

/** Room for the results of all entries, and for their sums. */
function placeTerms(kernels: Kernels, { hidden, calls, sums }: ExpertWork) {
  const counts = calls.map(({ rows }) => rows.length)
  const stride = calls[0]!.expert.down.outputBytes
  const inOrder = kernels.scratch.take(Math.max(...counts) * 4)
  kernels.ints(inOrder, Math.max(...counts)).forEach((_, i, list) => (list[i] = i))
  const y = kernels.scratch.take(sums.length * hidden * 4)
  return {
    terms: kernels.scratch.take(counts.reduce((sum, count) => sum + count, 0) * stride),
    y,
    stride, // of a term: whole tiles
    width: hidden,
    inOrder, // 0, 1, 2, …
    read: (): Float32Array => kernels.floats(y, sums.length * hidden).slice(),
  }
}

/** A call's operands. */
interface PlacedCall {
  readonly expert: PlacedExpert
  readonly count: number
  readonly rows: number
  readonly weights: number
  readonly up: number
  readonly active: number
  readonly activeBytes: number
  readonly rounded: number
  readonly terms: number
}

function placeCalls(kernels: Kernels, calls: readonly ExpertRows[], terms: Terms): PlacedCall[] {
  const { scratch } = kernels
  let entry = 0
  return calls.map(({ expert, rows, weights }) => {
    const count = rows.length
    const activeBytes = Math.ceil(expert.down.inputs / 4) * 16 // whole vectors of four floats
    const call = {
      expert,
      count,
      rows: scratch.take(count * 4),
      weights: scratch.take(count * 4),
      up: scratch.take(count * expert.gateUp.outputBytes + 64), // vectors may reach over the end
      active: scratch.take(count * activeBytes),
      activeBytes,
      rounded: expert.down.blocks > 0 ? scratch.take(count * expert.down.rowBytes) : 0,
      terms: terms.terms + entry * terms.stride,
    }
    kernels.ints(call.rows, count).set(rows)
    kernels.floats(call.weights, count).set(weights)
    entry += count
    return call
  })
}

const upTasks = ({ expert: { gateUp }, rows, count, up }: PlacedCall, input: Input, pieces: number): Phase =>
  linearTasks(
    gateUp,
    { x: gateUp.blocks > 0 ? input.rounded : input.floats, rowList: rows, rows: count, y: up },
    pieces,
  )

const activationTasks = (call: PlacedCall, threads: number): Phase =>
  cut(call.count, threads).map(({ first, size }) => [
    OP.gated,
    call.up + first * call.expert.gateUp.outputBytes,
    call.expert.gateUp.outputBytes,
    call.expert.down.inputs,
    size,
    call.active + first * call.activeBytes,
    call.activeBytes,
    call.weights + first * 4,
    call.expert.down.blocks,
    call.rounded + first * call.expert.down.rowBytes,
    call.expert.down.rowBytes,
  ])

function downTasks(call: PlacedCall, { inOrder }: Terms, pieces: number): Phase {
  const { down } = call.expert
  const [x, xStride] = down.blocks > 0 ? [call.rounded, down.rowBytes] : [call.active, call.activeBytes]
  const rows = { x, xStride, rowList: inOrder, rows: call.count, y: call.terms, rowWeights: call.weights }
  return linearTasks(down, rows, pieces)
}

function sumTasks(kernels: Kernels, sums: ExpertWork['sums'], { terms, stride, width, y }: Terms): Phase {
  const { scratch, threads } = kernels
  const list = sums.flat()
  const places = scratch.take(list.length * 4)
  const starts = scratch.take((sums.length + 1) * 4)
  kernels.ints(places, list.length).set(list)
  let start = 0
  kernels.ints(starts, sums.length + 1).set([0, ...sums.map(({ length }) => (start += length))])
  return cut(sums.length, threads).map(({ first, size }) => [
    OP.sum,
    terms,
    stride,
    width,
    places,
    starts + first * 4,
    size,
    y + first * width * 4,
  ])
}
