// The EAGLE head's weights and its one decoder layer (Li et al., arXiv 2401.15077): from a token's embedding and the
// hidden state before it to a guess of the hidden state at that token.

import { createAttentionLayer, packAttention, type HeadGeometry } from '../../lib/compute/attention-layer.js'
import { batchShape, layOutBatch, type AttentionSpan } from '../../lib/compute/attention-batch.js'
import { packExpert, placeExpert, runExperts } from '../../lib/compute/expert-layer.js'
import { concat } from '../../lib/compute/concat.js'
import type { Kernels } from '../../lib/compute/kernels.js'
import { createLinearMap, type LinearMap } from '../../lib/compute/linear-map.js'
import type { LinearWeights } from '../../lib/compute/linear-weights.js'
import { createRoom, placeFloats, placeInts } from '../../lib/compute/room.js'
import { createRopeTables } from '../../lib/compute/rope-tables.js'
import { sumOf } from '../../lib/compute/sum-of.js'
import { roundedBlocks } from '../../lib/compute/tiles.js'
import { ClusterError } from '../../lib/errors.js'
import { firstAttention, grouped } from '../../lib/model/attention-parts.js'
import type { Checkpoint } from '../../lib/model/checkpoint.js'
import type { WeightFormat } from '../../lib/model/spec.js'
import { linearOf } from '../../lib/model/weights.js'
import type { PagePool } from '../../lib/decode/kv-cache.js'
import type { HeadFile } from './head-file.js'
import { inOneGo } from '../../lib/compute/steps.js'

/** Rows of a run: what each reads, where it stands, what it sees. */
export interface EagleRows {
  readonly spans: readonly AttentionSpan[]
  readonly inputs: Float32Array // [rows, 2 hidden]: embedding of the token, then the hidden state before it
  readonly positions: readonly number[] // of the hidden state
}

export interface EagleLayer {
  readonly hidden: number
  readonly pool: PagePool
  /** Guesses of the hidden states at the tokens: [rows, hidden]. */
  run(rows: EagleRows): Float32Array
  /** Logits [vocab] of what follows each guess, valid until the next call. */
  logits(guesses: Float32Array): readonly Float32Array[]
  dispose(): void
}

/** Heads as wide as the target's; their number is the file's. */
function geometryOfHead(checkpoint: Checkpoint, file: HeadFile): HeadGeometry {
  const { headDim } = grouped(firstAttention(checkpoint.spec), `${file.path}: EAGLE head`)
  const headsOf = (name: string): number => Math.floor((file.shape(name)[0] ?? 0) / headDim)
  const [query, key] = ['self_attn.q_proj.weight', 'self_attn.k_proj.weight'] as const
  const [numHeads, numKvHeads] = [headsOf(query), headsOf(key)]
  if (numKvHeads < 1 || numHeads % numKvHeads !== 0) {
    const wanted = `a number of heads of ${headDim} rows that divides the ${numHeads} of ${query}`
    throw new ClusterError('invalid_argument', `${file.path}: tensor ${key}: want ${wanted}, got ${numKvHeads}`)
  }
  return { headDim, numHeads, numKvHeads }
}

export function createEagleLayer(
  checkpoint: Checkpoint,
  file: HeadFile,
  { kernels, format }: { readonly kernels: Kernels; readonly format: WeightFormat },
): EagleLayer {
  const { hidden, normEpsilon: epsilon } = checkpoint.spec
  const geometry = geometryOfHead(checkpoint, file)
  const { rope } = firstAttention(checkpoint.spec)
  const expertBlocks = roundedBlocks(hidden, format)
  const attention = createAttentionLayer(
    kernels,
    inOneGo(packAttention(attentionWeights(file, hidden, geometry), format)),
    {
      ...geometry,
      hidden,
      epsilon,
      rotatedDim: rope.dims,
      qkNorm: file.has('self_attn.q_norm.weight') ? 'head' : undefined,
      expertBlocks,
      rotation: 0,
      pageOffset: 0,
      kv: 'f32',
    },
  )
  const ffn = placeExpert(kernels, inOneGo(packExpert('ffn', ffnWeights(file, hidden), format)), 'ffn')
  const fc = createLinearMap(kernels, file.linear('fc', 2 * hidden, hidden), format)
  const head: LinearMap = createLinearMap(kernels, linearOf(checkpoint, checkpoint.spec.lmHead), format)
  const tables = createRopeTables(rope, rope.dims ?? geometry.headDim)
  const room = createRoom(kernels)

  const runFfn = (x: number, rows: number, y: number): void => {
    const { scratch } = kernels
    scratch.reset()
    const inOrder = placeInts(
      kernels,
      scratch,
      Array.from({ length: rows + 1 }, (_, row) => row),
    )
    runExperts(kernels, {
      x,
      isRounded: expertBlocks > 0,
      numRows: rows,
      hidden,
      calls: [{ expert: ffn, count: rows }],
      rows: inOrder,
      weights: placeFloats(kernels, scratch, new Float32Array(rows).fill(1)),
      list: inOrder,
      starts: inOrder,
      numSums: rows,
      y,
    })
  }

  return {
    hidden,
    pool: { kernels, layers: [{ ...geometry, valueDim: geometry.headDim }], format: 'f32' },
    run: ({ spans, inputs, positions }) => {
      const x = concat(fc.run(inputs))
      const shape = batchShape([attention.needs], { hidden, expertBlocks })
      const batch = layOutBatch(kernels, room, shape, { spans, x, tables: [tables.rows(positions)] })
      attention.run(batch)
      runFfn(expertBlocks > 0 ? batch.forExperts : batch.n, batch.rows, batch.delta)
      return sumOf(kernels.floats(batch.h, x.length), kernels.floats(batch.delta, x.length))
    },
    logits: (guesses) => head.run(guesses),
    dispose: () => [attention, ffn, fc, head, room].forEach((part) => part.dispose()),
  }
}

function attentionWeights(file: HeadFile, hidden: number, { headDim, numHeads, numKvHeads }: HeadGeometry) {
  const project = (name: string, heads: number): LinearWeights =>
    file.linear(`self_attn.${name}_proj`, hidden, heads * headDim)
  const qkNorm = file.has('self_attn.q_norm.weight')
    ? {
        q: file.tensor('self_attn.q_norm.weight', [headDim]),
        k: file.tensor('self_attn.k_norm.weight', [headDim]),
      }
    : undefined
  return {
    norm: file.tensor('input_layernorm.weight', [hidden]),
    q: project('q', numHeads),
    k: project('k', numKvHeads),
    v: project('v', numKvHeads),
    qkNorm,
    o: file.linear('self_attn.o_proj', numHeads * headDim, hidden),
    ffnNorm: file.tensor('post_attention_layernorm.weight', [hidden]),
  }
}

function ffnWeights(file: HeadFile, hidden: number) {
  const [intermediate = 0] = file.shape('gate_proj.weight')
  return {
    gate: file.linear('gate_proj', hidden, intermediate),
    up: file.linear('up_proj', hidden, intermediate),
    down: file.linear('down_proj', intermediate, hidden),
  }
}
