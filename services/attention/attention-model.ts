// The attention worker's share of the checkpoint as compute sessions: per layer projection and output, one attention
// core for every layer of a head geometry, the LM head, and embedding rows read on demand.

import { createAttentionCore, type AttentionCore, type HeadGeometry } from '../../lib/compute/attention-core.js'
import { createOutput, packOutput } from '../../lib/compute/attention-output.js'
import { createProjection, packProjection } from '../../lib/compute/attention-projection.js'
import type { LinearWeights } from '../../lib/compute/linear.js'
import { createLmHead, packLmHead } from '../../lib/compute/lm-head.js'
import { createRopeTables, type RopeTables } from '../../lib/compute/rope-tables.js'
import type { Session } from '../../lib/compute/session.js'
import { withMinRows } from '../../lib/compute/two-rows.js'
import type { WeightStore } from '../../lib/compute/weight-store.js'
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
  dispose(): void
}

export interface LoadOptions {
  readonly format: WeightFormat
  readonly minRows: 1 | 2
  readonly threads: number
  readonly weights: WeightStore
}

/** Packs the attention side's weights (or finds them packed) and builds its sessions. */
export async function loadAttentionModel(checkpoint: Checkpoint, options: LoadOptions): Promise<AttentionModel> {
  const { spec } = checkpoint
  const core = createAttentionCore(geometryOf(spec))
  const layers: AttentionLayer[] = []
  for (const index of spec.layers.keys()) {
    layers.push({ ...loadLayer(checkpoint, index, options), core })
    await turnOfTheLoop() // heartbeats go out while the weights are loaded
  }
  const head = loadHead(checkpoint, options)
  options.weights.loaded()
  return {
    spec,
    plan: shardPlan(spec),
    layers,
    head,
    rope: createRopeTables(spec.rope, geometryOf(spec).headDim),
    embed: (tokens) => embed(checkpoint, tokens),
    dispose: () => {
      for (const session of [core, head, ...layers.flatMap((l) => [l.project, l.output])]) session.dispose()
    },
  }
}

function loadHead(checkpoint: Checkpoint, { format, minRows, threads, weights }: LoadOptions): Session {
  const { spec } = checkpoint
  const set = weights.open('lm-head', () =>
    packLmHead({ norm: checkpoint.tensor(spec.finalNorm), head: linearOf(checkpoint, spec.lmHead) }, format),
  )
  const shape = { hidden: spec.hidden, vocabSize: spec.vocabSize, epsilon: spec.normEpsilon }
  return withMinRows(createLmHead(set, shape, threads), minRows)
}

/** The head geometry that every layer of the supported families shares. */
export function geometryOf(spec: ModelSpec): HeadGeometry {
  const { numHeads = 1, numKvHeads = 1, headDim = 2 } = spec.layers[0]?.attention ?? {}
  return { numHeads, numKvHeads, headDim }
}

function loadLayer(checkpoint: Checkpoint, index: number, { format, minRows, threads, weights }: LoadOptions) {
  const { hidden, normEpsilon: epsilon, layers } = checkpoint.spec
  const layer = layers[index]!
  const { attention, ffn } = layer
  const set = weights.open(`attention-${index}`, () => packLayer(checkpoint, layer, format))
  const { numHeads, numKvHeads, headDim, clip } = attention
  const project = createProjection(
    set,
    { hidden, numHeads, numKvHeads, headDim, epsilon, qkNorm: attention.qkNorm?.over, clip, addsDelta: index > 0 },
    threads,
  )
  const gateWidth = (ffn.gate === undefined ? 0 : ffn.experts.length) + (ffn.always?.sigmoidGate === undefined ? 0 : 1)
  const output = createOutput(set, { hidden, attended: numHeads * headDim, epsilon, gateWidth }, threads)
  return { spec: layer, project: withMinRows(project, minRows), output: withMinRows(output, minRows) }
}

function packLayer(
  checkpoint: Checkpoint,
  { attention, attentionNorm, ffnNorm, ffn }: LayerSpec,
  format: WeightFormat,
) {
  const { qkNorm } = attention
  return {
    ...packProjection(
      {
        norm: checkpoint.tensor(attentionNorm),
        q: linearOf(checkpoint, attention.q),
        k: linearOf(checkpoint, attention.k),
        v: linearOf(checkpoint, attention.v),
        qkNorm: qkNorm && { q: checkpoint.tensor(qkNorm.q), k: checkpoint.tensor(qkNorm.k) },
      },
      format,
    ),
    ...packOutput(
      {
        o: linearOf(checkpoint, attention.o),
        ffnNorm: checkpoint.tensor(ffnNorm),
        gate: gateWeights(checkpoint, ffn),
      },
      format,
    ),
  }
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

const turnOfTheLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function embed(checkpoint: Checkpoint, tokens: ArrayLike<number>): Float32Array {
  const { hidden, embedding } = checkpoint.spec
  const result = new Float32Array(tokens.length * hidden)
  for (let i = 0; i < tokens.length; i++) result.set(checkpoint.rows(embedding, tokens[i]!, 1), i * hidden)
  return result
}
