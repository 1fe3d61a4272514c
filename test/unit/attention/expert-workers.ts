// Expert workers for a test: the real actors over the local transport, each holding the shards it is given.

import { trace } from '@opentelemetry/api'
import { createActorSystem } from '../../../lib/actor/system.js'
import { systemClock } from '../../../lib/actor/clock.js'
import { pingActor } from '../../../lib/actor/ping.js'
import type { ActorSystem } from '../../../lib/actor/actor.js'
import type { Checkpoint } from '../../../lib/model/checkpoint.js'
import type { WeightFormat } from '../../../lib/model/spec.js'
import type { ExpertNeighbours } from '../../../lib/compute/expert-call.js'
import { sharedKernels } from '../../../lib/compute/kernels.js'
import { createWeightStore } from '../../../lib/compute/weight-store.js'
import { createLocalHub, createLocalTransport } from '../../../lib/transport/local.js'
import { computeLayer } from '../../../services/expert-worker/compute.js'
import { expertActors } from '../../../services/expert-worker/expert-actor.js'
import { createWants } from '../../../services/expert-worker/wants.js'
import { createExpertStore } from '../../../lib/decode/expert-store.js'

export const tracer = trace.getTracer('test')

export interface ExpertWorkers {
  readonly system: ActorSystem // of whoever asks them
  readonly loads: ReadonlyMap<string, Record<string, number>> // the counters of each worker
  /** The same workers as those of one process see them. */
  readonly neighbours: ExpertNeighbours
  stop(): Promise<void>
}

/** One worker per entry: its id and the shards it holds. */
export async function startExpertWorkers(
  checkpoint: Checkpoint,
  holdings: Readonly<Record<string, readonly number[]>>,
  format: WeightFormat = 'f32',
): Promise<ExpertWorkers> {
  const hub = createLocalHub()
  const closers: (() => Promise<void>)[] = []
  const loads = new Map<string, Record<string, number>>()
  const neighbours: ExpertNeighbours = new Map()
  const connect = (node: string): ActorSystem => {
    const transport = createLocalTransport({ hub })
    const system = createActorSystem({ transport, clock: systemClock, random: Math.random, cluster: 'test', node })
    closers.push(async () => {
      await system.stop()
      await transport.close()
    })
    return system
  }
  for (const [id, shards] of Object.entries(holdings)) {
    const store = createExpertStore({
      checkpoint,
      format,
      kernels: sharedKernels(1),
      weights: createWeightStore(undefined),
      turn: systemClock.turn,
    })
    await store.place(shards)
    const counted = { kernels: store.kernels, expert: store.expert, count: () => undefined }
    neighbours.set(id, { ...counted, compute: (call) => computeLayer(store, call) })
    const load: Record<string, number> = {}
    loads.set(id, load)
    const system = connect(id)
    const wants = createWants(store, () => undefined)
    const options = { address: id, store, wants, fingerprint: 'f', tracer, clock: systemClock, load }
    for (const actor of [pingActor(id), ...expertActors(options)]) system.spawn(actor)
    closers.push(() => store.dispose())
  }
  const system = connect('asker')
  return {
    system,
    loads,
    neighbours,
    stop: async () => {
      for (const close of closers) await close()
    },
  }
}
