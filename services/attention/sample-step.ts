// The forward pass of a step and what is sampled from it, into the results of its entries.

import { concat } from '../../lib/compute/concat.js'
import type { AttentionEngine } from '../../lib/decode/attention-engine.js'
import { takeTypical } from '../../lib/sampling/typical.js'
import { childOf, NOT_SAMPLED } from '../../lib/speculative/token-tree.js'
import type { Body, StepEntry } from '../../lib/wire/messages.js'
import { packF32, packI32 } from '../../lib/wire/tensor.js'
import { forward } from './decoder.js'
import type { DispatchContext } from './dispatch-context.js'
import { createPaths, type SequenceState } from './sequence-state.js'
import type { StepRoutes } from './step-routes.js'
import type { StepTimes } from './step-times.js'

export type StepResult = Body<'attention.sampled'>['entries'][number]

/** An entry that can run, and its result, which is filled in. */
export interface Ready {
  readonly state: SequenceState
  readonly entry: StepEntry
  readonly result: StepResult
}

/** Forward pass and sampling; fills the results in place and returns every row's logits where they are asked for. */
export async function sampleAll(
  engine: AttentionEngine,
  ready: readonly Ready[],
  { context, times, withLogits }: { context: DispatchContext; times: StepTimes; withLogits: boolean },
) {
  const { vocabSize } = engine.spec
  const states = ready.map(({ state }) => state)
  const last = await forward(engine, states, context, times)
  for (const state of states) state.isTailComputed = true
  returnHidden(engine, ready, last)
  if (context.routes !== undefined) returnRoutes(ready, context.routes)
  const rows = sampledRows(states, withLogits)
  if (rows.length === 0) return undefined
  const logits = engine.head.run(last, rows)
  if (withLogits) return packF32(concat(logits), [rows.length, vocabSize])
  let first = 0
  for (const one of ready) {
    const { length } = one.state.tail.sampled
    sampleTail(one, logits.slice(first, first + length))
    first += length
  }
  return undefined
}

/** The last hidden states of the rows that are wanted. */
function returnHidden({ head, spec: { hidden } }: AttentionEngine, ready: readonly Ready[], last: Float32Array): void {
  if (!ready.some(({ entry }) => entry.numHidden !== undefined)) return
  let end = 0
  const wanting = ready.flatMap(({ state, entry, result }) => {
    const { length } = state.tail.tokens
    end += length
    const count = Math.min(entry.numHidden ?? 0, length)
    return count === 0 ? [] : [{ result, count, rows: last.subarray((end - count) * hidden, end * hidden) }]
  })
  if (wanting.length === 0) return
  const normed = head.norm(concat(wanting.map(({ rows }) => rows)))
  let row = 0
  for (const { result, count } of wanting) {
    result.hidden = packF32(normed.subarray(row * hidden, (row + count) * hidden), [count, hidden])
    row += count
  }
}

/** The experts of every row, entry by entry. */
function returnRoutes(ready: readonly Ready[], routes: StepRoutes): void {
  let first = 0
  for (const { state, result } of ready) {
    const { length } = state.tail.tokens
    result.routes = routes.rows(first, length)
    first += length
  }
}

/**
 * The ordinary sampler at the nodes that verification can reach: from the first one to the child that carries its sample,
 * and so on; the others keep NOT_SAMPLED. The lossy rule may go elsewhere: for it every node is sampled, and judged.
 */
function sampleTail({ state, entry, result }: Ready, logits: readonly Float32Array[]): void {
  const { sampled, tokens: drafted, parents } = state.tail
  const tokens = new Int32Array(sampled.length).fill(NOT_SAMPLED)
  const pathTo = createPaths(state)
  const takes = new Int32Array(entry.typical === undefined ? 0 : drafted.length)

  const sampleAt = (place: number): number => {
    const context = { tokens: pathTo(sampled[place]!), promptLength: state.promptLength }
    const { token, logprobs } = state.sampler.sample(logits[place]!, context)
    if (logprobs !== undefined) result.logprobs.push({ ...logprobs, top: [...logprobs.top] })
    if (entry.typical !== undefined) {
      const children = [...drafted.keys()].filter((child) => parents[child] === sampled[place])
      const ids = children.map((child) => drafted[child]!)
      const taken = takeTypical(logits[place]!, ids, { ...entry.typical, params: state.sampling, context })
      children.forEach((child, i) => (takes[child] = taken[i]! | (ids[i] === token ? 1 : 0)))
    }
    return (tokens[place] = token)
  }

  if (entry.typical !== undefined) {
    for (const place of sampled.keys()) sampleAt(place)
    result.typical = packI32(takes)
  } else {
    for (let place = sampled.length > 0 ? 0 : -1; place !== -1;) {
      place = sampled.indexOf(childOf(state.tail, sampled[place]!, sampleAt(place)))
    }
  }
  result.tokens = packI32(tokens)
}

function sampledRows(states: readonly SequenceState[], all: boolean): number[] {
  const rows: number[] = []
  let firstRow = 0
  for (const { tail } of states) {
    if (all) for (let node = 0; node < tail.tokens.length; node++) rows.push(firstRow + node)
    else for (const node of tail.sampled) rows.push(firstRow + node)
    firstRow += tail.tokens.length
  }
  return rows
}
