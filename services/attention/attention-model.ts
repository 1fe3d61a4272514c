// The attention worker's share of the checkpoint as compute sessions: per layer projection and output, one attention
// core for every layer of a head geometry, the LM head, and embedding rows read on demand.

import { createAttentionCore, type AttentionCore, type HeadGeometry } from '../../lib/compute/attention-core.js'
import { createOutput } from '../../lib/compute/attention-output.js'
import { createProjection } from '../../lib/compute/attention-projection.js'
import type { LinearWeights } from '../../lib/compute/linear.js'
import { createLmHead } from '../../lib/compute/lm-head.js'
import { createRopeTables, type RopeTables } from '../../lib/compute/rope-tables.js'
import type { Session } from '../../lib/compute/session.js'
import { withMinRows } from '../../lib/compute/two-rows.js'
import type { Checkpoint } from '../../lib/model/checkpoint.js'
import { linearOf } from '../../lib/model/weights.js'
import type { FfnLayerSpec, LayerSpec, ModelSpec, WeightFormat } from '../../lib/model/spec.js'
import { shardPlan, type ShardPlan } from '../../lib/model/expert-shards.js'

export interface AttentionLayer {
  readonly spec: LayerSpec
  readonly project: Session
  readonly core: AttentionCore
  readonly output: Session
}

export interface AttentionModel {
  readonly spec: ModelSpec
  readonly plan: ShardPlan
  readonly layers: readonly AttentionLayer[]
  readonly head: Session
  readonly rope: RopeTables
  /** Embeddings [tokens, hidden]. */
  embed(tokens: ArrayLike<number>): Float32Array
  dispose(): Promise<void>
}

export interface LoadOptions {
  readonly format: WeightFormat
  readonly minRows: 1 | 2
  readonly threads: number
}

/** Reads the attention side's weights and builds its sessions. */
export async function loadAttentionModel(checkpoint: Checkpoint, options: LoadOptions): Promise<AttentionModel> {
  const { spec } = checkpoint
  const core = await createAttentionCore(geometryOf(spec))
  const layers: AttentionLayer[] = []
  for (const [index, layer] of spec.layers.entries()) {
    layers.push({ ...(await loadLayer(checkpoint, layer, index, options)), core })
  }
  const headWeights = {
    epsilon: spec.normEpsilon,
    norm: checkpoint.tensor(spec.finalNorm),
    head: linearOf(checkpoint, spec.lmHead),
  }
  const head = withMinRows(await createLmHead(headWeights, options.format, options.threads), options.minRows)
  return {
    spec,
    plan: shardPlan(spec),
    layers,
    head,
    rope: createRopeTables(spec.rope, geometryOf(spec).headDim),
    embed: (tokens) => embed(checkpoint, tokens),
    dispose: async () => {
      await Promise.all([
        core.dispose(),
        head.dispose(),
        ...layers.flatMap((l) => [l.project.dispose(), l.output.dispose()]),
      ])
    },
  }
}

/** The head geometry that every layer of the supported families shares. */
export function geometryOf(spec: ModelSpec): HeadGeometry {
  const { numHeads = 1, numKvHeads = 1, headDim = 2 } = spec.layers[0]?.attention ?? {}
  return { numHeads, numKvHeads, headDim }
}

async function loadLayer(checkpoint: Checkpoint, layer: LayerSpec, index: number, { format, minRows }: LoadOptions) {
  const { hidden, normEpsilon: epsilon } = checkpoint.spec
  const { attention } = layer
  const project = await createProjection(
    {
      hidden,
      epsilon,
      numHeads: attention.numHeads,
      numKvHeads: attention.numKvHeads,
      headDim: attention.headDim,
      norm: checkpoint.tensor(layer.attentionNorm),
      q: linearOf(checkpoint, attention.q),
      k: linearOf(checkpoint, attention.k),
      v: linearOf(checkpoint, attention.v),
      qkNorm: attention.qkNorm && {
        over: attention.qkNorm.over,
        q: checkpoint.tensor(attention.qkNorm.q),
        k: checkpoint.tensor(attention.qkNorm.k),
      },
      clip: attention.clip,
      addsDelta: index > 0,
    },
    format,
  )
  const output = await createOutput(
    {
      hidden,
      epsilon,
      o: linearOf(checkpoint, attention.o),
      ffnNorm: checkpoint.tensor(layer.ffnNorm),
      gate: gateWeights(checkpoint, layer.ffn),
    },
    format,
  )
  return { spec: layer, project: withMinRows(project, minRows), output: withMinRows(output, minRows) }
}

/** Gate rows and, below them, the shared expert's sigmoid gate: [routed + 0 or 1, hidden]. */
function gateWeights(checkpoint: Checkpoint, ffn: FfnLayerSpec): LinearWeights | undefined {
  const refs = [ffn.gate?.weight, ffn.always?.sigmoidGate].filter((ref) => ref !== undefined)
  if (refs.length === 0) return undefined
  const parts = refs.map((ref) => checkpoint.tensor(ref))
  const weights = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0))
  let offset = 0
  for (const part of parts) {
    weights.set(part, offset)
    offset += part.length
  }
  const inputs = checkpoint.spec.hidden
  return { weights, inputs, outputs: weights.length / inputs }
}

function embed(checkpoint: Checkpoint, tokens: ArrayLike<number>): Float32Array {
  const { hidden, embedding } = checkpoint.spec
  const result = new Float32Array(tokens.length * hidden)
  for (let i = 0; i < tokens.length; i++) result.set(checkpoint.rows(embedding, tokens[i]!, 1), i * hidden)
  return result
}
