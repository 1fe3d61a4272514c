// What a router answers to others on the bus: how the cluster stands, and a prompt's logits.

import type { ActorDefinition, ActorSystem } from '../../lib/actor/actor.js'
import type { RouterOptions } from '../../lib/config/service.js'
import { ClusterError } from '../../lib/errors.js'
import type { Checkpoint } from '../../lib/model/checkpoint.js'
import { readI32 } from '../../lib/wire/tensor.js'
import { promptLogits } from './logits.js'
import type { PlacementManager } from './placement-manager.js'
import type { RouterEngine } from './router-engine.js'
import { checkPrompt } from './validate.js'
import type { AttentionWorkers } from './workers.js'

export interface RouterActorOptions {
  readonly id: string
  readonly system: ActorSystem
  readonly checkpoint: Checkpoint
  readonly engine: RouterEngine
  readonly workers: AttentionWorkers
  readonly placement: PlacementManager
  readonly newStepId: () => string
  readonly options: RouterOptions
}

export function routerActor(parts: RouterActorOptions): ActorDefinition {
  const { id, engine, placement } = parts
  return {
    address: id,
    mailboxCapacity: 256,
    systemKinds: new Set(['cluster.status']),
    create: () => ({
      'cluster.status': () => ({
        kind: 'cluster.state',
        json: JSON.stringify({ ...engine.status(), ready: engine.isReady(), refusal: placement.refusal?.toWire() }),
      }),
      'router.logits': async ({ tokens }) => {
        return { kind: 'logits.page', logits: await logitsOf(parts, [...readI32(tokens, 'tokens')]) }
      },
    }),
  }
}

function logitsOf(parts: RouterActorOptions, prompt: readonly number[]) {
  const { system, checkpoint, engine, workers, placement, newStepId, options } = parts
  const worker = workers.anyWorker()
  if (worker === undefined || !engine.isReady()) {
    throw new ClusterError('unavailable', 'the cluster is still starting')
  }
  const { spec, defaults } = checkpoint
  const { vocabSize, maxPositions } = spec
  checkPrompt(prompt, { vocabSize, maxPositions: maxPositions + 1, kvTokens: 0, eosTokenIds: [], defaults })
  const { table, epoch: tableEpoch, release } = placement.hold()
  const replicas = placement.order(table)
  const chunk = options.prefillChunk
  const step = { system, worker, tableEpoch, replicas, vocabSize, chunk, newStepId }
  return promptLogits(step, prompt).finally(release)
}
