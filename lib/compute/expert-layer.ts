// Experts on the CPU engine: round the rows, gate and up in one product, activation, down, sums. Each is one phase over
// all touched experts, so that every thread has work and an untouched expert costs nothing.
//
// Invariants
//   E1  A sum adds the entries of a group in the order of its list, then the groups; a first one is copied, not added to
//       zero.

import { SILU, type Activation, type WeightFormat } from '../model/spec.js'
import type { ExpertWeights, ExpertWork } from './expert-engine.js'
import { floatBits, OP, type Kernels } from './kernels.js'
import { stack } from './linear-weights.js'
import { addProducts, addRounding, placeLinear, type PlacedLinear, type Product } from './placed-linear.js'
import { pieceOf, placeFloats, placeInts } from './room.js'
import type { Steps } from './steps.js'
import { packTiles } from './tiles.js'
import type { WeightSet } from './weight-store.js'

/** The weights `name.gate_up` (one product) and `name.down` of one expert. */
export function* packExpert(name: string, { gate, up, down }: ExpertWeights, format: WeightFormat): Steps<WeightSet> {
  const gateUp = yield* packTiles(`${name}.gate_up`, stack([gate, up]), format)
  return { ...gateUp, ...(yield* packTiles(`${name}.down`, down, format)) }
}

/** An expert in the engine's memory. */
export interface PlacedExpert {
  readonly gateUp: PlacedLinear
  readonly down: PlacedLinear
  readonly activation: Activation
  dispose(): void
}

/** Copies an expert packed by `packExpert` into the engine's memory. */
export function placeExpert(kernels: Kernels, set: WeightSet, name: string, activation = SILU): PlacedExpert {
  const gateUp = placeLinear(kernels, set, `${name}.gate_up`)
  const down = placeLinear(kernels, set, `${name}.down`)
  return {
    gateUp,
    down,
    activation,
    dispose: () => {
      gateUp.dispose()
      down.dispose()
    },
  }
}

/** Sums over entries of weight · down(activation(gate(x), up(x))): [sums.length, hidden], to be read before the next run. */
export function computeExperts(kernels: Kernels, work: ExpertWork<PlacedExpert>): Float32Array {
  const { input, hidden, calls, sums } = work
  if (sums.length === 0) return new Float32Array(0)
  kernels.scratch.reset()
  let start = 0
  const y = kernels.scratch.take(sums.length * hidden * 4)
  const x = kernels.scratch.take(input.bytes.byteLength)
  kernels.bytes(x, input.bytes.byteLength).set(input.bytes)
  runExperts(kernels, {
    x,
    isRounded: input.isRounded,
    numRows: input.numRows,
    hidden,
    calls: calls.map(({ expert, rows }) => ({ expert, count: rows.length })),
    rows: placeInts(
      kernels,
      kernels.scratch,
      calls.flatMap(({ rows }) => Array.from(rows)),
    ),
    weights: placeFloats(
      kernels,
      kernels.scratch,
      Float32Array.from(calls.flatMap(({ weights }) => Array.from(weights))),
    ),
    list: placeInts(kernels, kernels.scratch, sums.flat()),
    starts: placeInts(kernels, kernels.scratch, [0, ...sums.map(({ length }) => (start += length))]),
    numSums: sums.length,
    y,
  })
  return kernels.floats(y, sums.length * hidden)
}

/** Flags the first entry of a further group in a list of sums: groups are added inside first, then to one another. */
export const NEXT_GROUP = -(2 ** 31)

/** A call whose operands lie in the engine's memory; entries are counted through all calls. All addresses. */
export interface PlacedWork {
  readonly x: number // [numRows, hidden]
  readonly isRounded: boolean // whether x lies as the products read it
  readonly numRows: number
  readonly hidden: number
  readonly calls: readonly { readonly expert: PlacedExpert; readonly count: number }[]
  readonly rows: number // [entries] places in x
  readonly weights: number // [entries]
  readonly list: number // entries of sum after sum
  readonly starts: number // [numSums + 1] where each begins in the list
  readonly numSums: number
  readonly y: number // [numSums, hidden]
}

/** Computes a call in one run. Takes room from the engine's scratch behind what is there. */
export function runExperts(kernels: Kernels, work: PlacedWork): void {
  const reader = work.calls.find(({ expert }) => expert.gateUp.blocks > 0)?.expert.gateUp
  const mustRound = reader !== undefined && !work.isRounded
  const rounded = mustRound ? kernels.scratch.take(work.numRows * reader.rowBytes) : work.x
  const calls = placeCalls(kernels, work)
  kernels.run(() => {
    if (mustRound) {
      addRounding(kernels, reader, { x: work.x, stride: work.hidden * 4, rows: work.numRows, y: rounded })
      kernels.barrier()
    }
    addProducts(
      kernels,
      calls.map(({ expert: { gateUp }, rows, count, up }) => ({
        linear: gateUp,
        rows: { x: gateUp.blocks > 0 ? rounded : work.x, rowList: rows, rows: count, y: up },
      })),
    )
    kernels.barrier()
    for (const call of calls) addActivation(kernels, call, Math.ceil((2 * kernels.threads) / calls.length))
    kernels.barrier()
    addProducts(kernels, calls.map(downProduct))
    kernels.barrier()
    const { hidden, list, starts, numSums, y } = work
    const xStride = calls[0]?.expert.down.outputBytes ?? 0
    addSums(kernels, { x: calls[0]?.terms ?? 0, xStride, hidden, list, starts, numSums, y })
  })
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
  readonly inOrder: number // 0, 1, 2, …
  readonly terms: number
}

function placeCalls(kernels: Kernels, { calls, rows, weights }: PlacedWork): PlacedCall[] {
  const { scratch } = kernels
  const numEntries = calls.reduce((sum, { count }) => sum + count, 0)
  const most = calls.reduce((longest, { count }) => Math.max(longest, count), 0)
  const inOrder = scratch.take(most * 4)
  const order = kernels.ints(inOrder, most)
  for (let i = 0; i < most; i++) order[i] = i
  const terms = scratch.take(numEntries * (calls[0]?.expert.down.outputBytes ?? 0))
  let entry = 0
  return calls.map(({ expert, count }) => {
    const { gateUp, down } = expert
    const activeBytes = Math.ceil(down.inputs / 4) * 16 // whole vectors of four floats
    const first = entry
    entry += count
    return {
      expert,
      count,
      rows: rows + first * 4,
      weights: weights + first * 4,
      up: scratch.take(count * gateUp.outputBytes + 64), // vectors may reach over the end
      active: scratch.take(count * activeBytes),
      activeBytes,
      rounded: down.blocks > 0 ? scratch.take(count * down.rowBytes) : 0,
      inOrder,
      terms: terms + first * down.outputBytes,
    }
  })
}

/** As the kernel counts them. */
const ACTIVATIONS = { silu: 0, gelu: 1, 'clamped-swiglu': 2 } as const

function addActivation(kernels: Kernels, call: PlacedCall, pieces: number): void {
  const { gateUp, down, activation } = call.expert
  const isClamped = activation.type === 'clamped-swiglu'
  const most = pieceOf(call.count, pieces)
  for (let first = 0; first < call.count; first += most) {
    kernels.task(
      OP.gated,
      call.up + first * gateUp.outputBytes,
      gateUp.outputBytes,
      down.inputs,
      Math.min(most, call.count - first),
      call.active + first * call.activeBytes,
      call.activeBytes,
      call.weights + first * 4,
      down.blocks,
      call.rounded + first * down.rowBytes,
      down.rowBytes,
      ACTIVATIONS[activation.type],
      isClamped ? floatBits(activation.alpha) : 0,
      isClamped ? floatBits(activation.limit) : 0,
    )
  }
}

function downProduct(call: PlacedCall): Product {
  const { down } = call.expert
  const [x, xStride] = down.blocks > 0 ? [call.rounded, down.rowBytes] : [call.active, call.activeBytes]
  const { inOrder: rowList, count: rows, terms: y, weights: rowWeights } = call
  return { linear: down, rows: { x, xStride, rowList, rows, y, rowWeights } }
}

/** Sums of rows of x by a list of their places. All addresses. */
export interface PlacedSums {
  readonly x: number
  readonly xStride: number
  readonly hidden: number
  readonly list: number
  readonly starts: number
  readonly numSums: number
  readonly y: number
}

export function addSums(kernels: Kernels, { x, xStride, hidden, list, starts, numSums, y }: PlacedSums): void {
  const most = pieceOf(numSums, kernels.threads)
  for (let first = 0; first < numSums; first += most) {
    const size = Math.min(most, numSums - first)
    kernels.task(OP.sum, x, xStride, hidden, list, starts + first * 4, size, y + first * hidden * 4)
  }
}
