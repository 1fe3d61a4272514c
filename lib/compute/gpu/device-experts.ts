// Experts on a device: a session per expert keeps its weights there. A layer call uploads the rows once, runs every
// touched expert on them, joins the terms there and downloads them once; the sums over experts are added on this side.
//
// Invariants
//   E1  An expert runs at least `leastRows` rows: with so many the device gives a row the same bits in any company
//       (`device-probe.ts`). Rows that fill up are copies, and nobody reads their terms.
//   E2  Sums are float32 additions in the order of their list.

import type { ExpertEngine, ExpertRows, ExpertWork } from '../expert-engine.js'
import { GraphBuilder } from '../graph.js'
import { linear, packLinear } from '../linear.js'
import { stack } from '../linear-weights.js'
import { createSession, type DeviceTensor, type Kept, type Provider, type Session } from '../session.js'
import { asOneStep } from '../steps.js'
import type { WeightSet } from '../weight-store.js'
import { floatsOf } from './rounded-rows.js'

/** An expert on the device. */
export interface DeviceExpert {
  readonly session: Session
  dispose(): void
}

export interface DeviceExpertsOptions {
  readonly provider: Provider
  readonly hidden: number
  readonly leastRows: number
}

export function deviceExperts({ provider, hidden, leastRows }: DeviceExpertsOptions): ExpertEngine<DeviceExpert> {
  const enter = createSession(identityGraph(hidden), { provider, keep: ['y'] })
  const joins = new Map<number, Session>() // by number of experts
  const joinOf = (count: number): Session => {
    const join = joins.get(count) ?? createSession(joinGraph(hidden, count), { provider })
    joins.set(count, join)
    return join
  }

  /** Terms of every call's rows, one call after the other, each filled up to the least number of rows. */
  const termsOf = (x: Float32Array, calls: readonly ExpertRows<DeviceExpert>[]): Float32Array => {
    const held: DeviceTensor[] = []
    const keep = ({ kept }: { readonly kept: Kept }): DeviceTensor => {
      const y = kept.y!
      held.push(y)
      return y
    }
    try {
      const rows = keep(enter.runKept({ x: { data: x, dims: [x.length / hidden, hidden] } }))
      const terms = calls.map(({ expert, rows: places }, i) => {
        const list = filledUp(places, leastRows)
        return [`x${i}`, keep(expert.session.runKept({ x: rows, list: { data: list, dims: [list.length] } }))] as const
      })
      return joinOf(calls.length).run(Object.fromEntries(terms)).y!
    } finally {
      for (const tensor of held) tensor.dispose()
    }
  }

  return {
    readsRounded: true,
    setName: 'device-experts',
    pack: (name, { gate, up, down }, format) =>
      asOneStep(() => ({
        ...packLinear(`${name}.gate_up`, stack([gate, up]), format),
        ...packLinear(`${name}.down`, down, format),
      })),
    place: (set, name) => {
      const session = createSession(expertGraph(hidden, set, name), { provider, keep: ['y'] })
      return { session, dispose: () => session.dispose() }
    },
    compute: (work) =>
      work.sums.length === 0
        ? new Float32Array(0)
        : addUp(work, termsOf(floatsOf(work.input, hidden), work.calls), leastRows),
    dispose: () => {
      for (const session of [enter, ...joins.values()]) session.dispose()
    },
  }
}

/** y = down(silu(gate(x)) · up(x)) of the listed rows of x. */
function expertGraph(hidden: number, set: WeightSet, name: string) {
  const graph = new GraphBuilder()
  const x = graph.input('x', ['numRows', hidden])
  const list = graph.input('list', ['rows'], 'int32')
  const rows = graph.node('Gather', [x, list], { attributes: { axis: 0 } })
  const both = linear(graph, rows, set, `${name}.gate_up`)
  const [gate = '', up = ''] = graph.nodeWith('Split', [both], { attributes: { axis: -1, num_outputs: 2 }, outputs: 2 })
  const active = graph.node('Mul', [graph.node('Mul', [gate, graph.node('Sigmoid', [gate])]), up])
  graph.output(linear(graph, active, set, `${name}.down`), 'y', ['rows', hidden])
  return graph.build('expert')
}

function identityGraph(hidden: number) {
  const graph = new GraphBuilder()
  graph.output(graph.input('x', ['rows', hidden]), 'y', ['rows', hidden])
  return graph.build('enter')
}

function joinGraph(hidden: number, count: number) {
  const graph = new GraphBuilder()
  const parts = Array.from({ length: count }, (_, i) => graph.input(`x${i}`, [`rows${i}`, hidden]))
  graph.output(graph.node('Concat', parts, { attributes: { axis: 0 } }), 'y', ['entries', hidden])
  return graph.build('join')
}

/** Places of rows, the first one repeated until there are enough. */
function filledUp(places: ArrayLike<number>, least: number): Int32Array {
  const list = new Int32Array(Math.max(places.length, least)).fill(places[0] ?? 0)
  list.set(places)
  return list
}

function addUp(
  { hidden, calls, sums }: ExpertWork<DeviceExpert>,
  terms: Float32Array,
  leastRows: number,
): Float32Array {
  let first = 0 // row of the terms
  const entries = calls.flatMap(({ rows, weights }) => {
    const from = first
    first += Math.max(rows.length, leastRows)
    return Array.from(weights, (weight, i) => ({ weight, at: (from + i) * hidden }))
  })
  const result = new Float32Array(sums.length * hidden)
  sums.forEach((list, row) => {
    const y = result.subarray(row * hidden, (row + 1) * hidden)
    list.forEach((entry, i) => {
      const { weight, at } = entries[entry]!
      if (i === 0) for (let k = 0; k < hidden; k++) y[k] = weight * terms[at + k]!
      else for (let k = 0; k < hidden; k++) y[k]! += Math.fround(weight * terms[at + k]!)
    })
  })
  return result
}
