// The short way of a MoE layer: where every touched expert is in this process and its engine, the layer runs in place.

import type { ExpertNeighbour, TouchedExpert } from '../../lib/compute/expert-call.js'
import type { PlacedExpert } from '../../lib/compute/expert-layer.js'
import type { Kernels } from '../../lib/compute/kernels.js'
import { runInPlace, type ExpertOperands } from '../../lib/decode/experts-in-place.js'
import type { Routes } from '../../lib/decode/gate.js'
import { liveReplica, type DispatchContext } from './dispatch-context.js'

/** Runs the layer here if all its experts are; returns whether they were. */
export function runNearby(context: DispatchContext, layer: number, operands: ExpertOperands, routes: Routes): boolean {
  if (context.neighbours.size === 0) return false
  const find = (touched: readonly TouchedExpert[]) => findExperts(context, operands.kernels, layer, touched)
  const numTouched = runInPlace(context.plan, layer, operands, routes, find)
  context.counters.distinctExperts += numTouched ?? 0
  return numTouched !== undefined
}

/** The touched experts in the engine's memory, or undefined where one is elsewhere. */
function findExperts(
  context: DispatchContext,
  kernels: Kernels,
  layer: number,
  touched: readonly TouchedExpert[],
): readonly PlacedExpert[] | undefined {
  const experts: PlacedExpert[] = []
  const touchedOf = new Map<string, TouchedExpert[]>()
  let [worker, mine, neighbour]: [string?, TouchedExpert[]?, ExpertNeighbour?] = []
  for (const one of touched) {
    const holder = liveReplica(context, one.shard)
    if (holder === undefined) return undefined
    if (holder !== worker) {
      worker = holder
      neighbour = context.neighbours.get(holder)
      mine = touchedOf.get(holder) ?? []
      touchedOf.set(holder, mine)
    }
    const expert = neighbour?.kernels === kernels ? neighbour.expert(layer, one.shard, one.expert) : undefined
    if (expert === undefined) return undefined
    mine?.push(one)
    experts.push(expert)
  }
  for (const { expert, count } of touched) context.counters.expertRows.note(layer, expert, count)
  for (const [holder, its] of touchedOf) {
    context.used.add(holder)
    context.neighbours.get(holder)?.count(layer, its)
  }
  return experts
}
