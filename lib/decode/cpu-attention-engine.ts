// The CPU's kernels as an attention worker's engine: pages and operands lie in their memory, and what they give is there
// when a call returns.

import { splitRows } from '../compute/attention-batch.js'
import { ClusterError } from '../errors.js'
import { headsOf } from '../model/attention-parts.js'
import type { AttentionEngine, SequenceCache, StepSpan } from './attention-engine.js'
import type { AttentionModel } from './attention-model.js'
import { KvCache } from './kv-cache.js'
import { batchRows, lastHidden, layOut, runAttention } from './layers.js'

export function createCpuAttentionEngine(model: AttentionModel): AttentionEngine {
  const { kernels, spec, plan, head } = model
  const pool = { kernels, layers: spec.layers.map(({ attention }) => headsOf(attention)), format: model.kv }
  return {
    spec,
    plan,
    head,
    openCache: () => new KvCache(pool),
    layOut: ({ spans, tokens, positions }, microBatches) =>
      splitRows(batchRows(model, spans.map(withPages), tokens, positions), microBatches).map((part, i) => {
        const batch = layOut(model, model.rooms[i]!, part)
        return {
          rows: batch.rows,
          runLayer: (index) => runAttention(model, index, batch),
          lastHidden: () => lastHidden(model, batch),
        }
      }),
    dispose: () => model.dispose(),
  }
}

const withPages = ({ cache, views, slots }: StepSpan) => ({ views, slots, pages: pagesOf(cache) })

function pagesOf(cache: SequenceCache): readonly number[] {
  if (cache instanceof KvCache) return cache.addresses
  throw new ClusterError('internal', 'KV cache: want one of the engine that computes, got another')
}
