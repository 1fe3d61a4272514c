// The clusters whose answers must be those of the plain one.

import { demoModel } from '../helpers/paths.js'
import type { ClusterShape } from '../helpers/test-cluster.js'

export interface SoakShape {
  readonly sources: string
  readonly transport: 'local' | 'nats'
  readonly maxTreeNodes: number
  readonly shape: ClusterShape
}

export const SOURCES = ['off', 'prompt-lookup', 'suffix', 'ngram', 'medusa', 'eagle', 'model', 'auto']
const TREE_SIZES = [2, 8, 48]

/** Every source alone, all of them, and none; the middle size drafts without the sampler's noise, the smallest not ahead. */
export function soakShapes(sources: readonly string[], nats: string): SoakShape[] {
  return sources.flatMap((source) =>
    (['local', 'nats'] as const).flatMap((transport) =>
      (source === 'off' ? TREE_SIZES.slice(0, 1) : TREE_SIZES).map((maxTreeNodes): SoakShape => ({
        sources: source,
        transport,
        maxTreeNodes,
        shape: {
          draft: source === 'off' ? [] : [source],
          maxTreeNodes,
          sharedNoise: maxTreeNodes !== 8,
          draftAhead: maxTreeNodes !== 2,
          ...(source === 'model' && { draftModel: demoModel }),
          ...(transport === 'nats' && { nats }),
        },
      })),
    ),
  )
}
