// The short way of a MoE layer: where every touched expert is in this process and its engine, the layer runs in place.

import type { TouchedExpert } from '../../lib/compute/expert-call.js'
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
  for (const one of touched) {
    const { shard, expert: id } = one
    const worker = liveReplica(context, shard)
    const neighbour = worker === undefined ? undefined : context.neighbours.get(worker)
    const expert = neighbour?.kernels === kernels ? neighbour.expert(layer, shard, id) : undefined
    if (worker === undefined || expert === undefined) return undefined
    const mine = touchedOf.get(worker)
    if (mine === undefined) touchedOf.set(worker, [one])
    else mine.push(one)
    experts.push(expert)
  }
  for (const { expert, count } of touched) context.counters.expertRows.note(layer, expert, count)
  for (const [worker, mine] of touchedOf) {
    context.used.add(worker)
    context.neighbours.get(worker)?.count(layer, mine)
  }
  return experts
}
