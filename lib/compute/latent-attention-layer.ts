// One layer of multi-head latent attention (DeepSeek-V2, arXiv 2405.04434) for the rows of a step, in one run. The cache
// holds latent vectors and one rotated key per token; all query heads attend to them as one group, in latent space.
//
// Invariants
//   LA1  A head's rows have strides of whole tiles where a product writes them: its last tile overwrites no neighbour.

import { ClusterError } from '../errors.js'
import { addAttention, widthWords, type AttendShape } from './attend-tasks.js'
import { cutWork, workBytes, type AttentionBatch } from './attention-batch.js'
import { scaleOf, type AttentionLayer, type ScoreShape } from './attention-layer.js'
import { floatBits, OP, type Kernels } from './kernels.js'
import { kvNumberBytes } from '../model/kv-formats.js'
import { valueStride, type LatentHeads } from './latent-weights.js'
import { createLayerEnds, placeOptional, type EndShape } from './layer-ends.js'
import { addNorm } from './norm-tasks.js'
import { addProduct, addProducts, addRounding, placeLinear, roundedBytes, type PlacedLinear } from './placed-linear.js'
import { placeWeight, placeWords } from './placed-weight.js'
import { cut, pieceOf } from './room.js'
import { weightOf, type WeightSet } from './weight-store.js'

export interface LatentShape extends LatentHeads, EndShape, ScoreShape {
  readonly latentEpsilon: number // of the norms inside
}

const GROUP_HEADS = 16 // of a task at most

/** A layer packed by `packLatentAttention`, in the engine's memory. */
export function createLatentAttentionLayer(kernels: Kernels, set: WeightSet, shape: LatentShape): AttentionLayer {
  const {
    numHeads,
    latentDim,
    plainDim,
    rotatedDim,
    valueDim,
    latentEpsilon,
    window = Infinity,
    pageOffset,
    kv: format,
  } = shape
  if (latentDim % 2 !== 0 || rotatedDim % 2 !== 0) {
    const found = `${latentDim} and ${rotatedDim}`
    throw new ClusterError('unimplemented', `latent attention: want even widths (latent, rotated), got ${found}`)
  }
  const { threads } = kernels
  const ends = createLayerEnds(kernels, set, shape)
  const down = placeLinear(kernels, set, 'down')
  const qUp = set['q_up.tiles'] && placeLinear(kernels, set, 'q_up')
  const [qNorm, sinks] = placeOptional(kernels, set, ['q_norm', 'sinks'])
  const latentNorm = placeWeight(kernels, weightOf(set, 'latent_norm'))
  const [keys, values] = [placeHeads(kernels, set, 'key', numHeads), placeHeads(kernels, set, 'value', numHeads)]
  const [key, value] = [keys[0]!, values[0]!]
  const queryHead = (plainDim + rotatedDim) * 4
  const absorbedHead = rotatedDim * 4 + key.outputBytes
  const kv = { numKvHeads: 1, headDim: rotatedDim + latentDim, valueDim: latentDim }
  const widths = placeWords(kernels, widthWords(kv, absorbedHead))
  const group = Math.min(GROUP_HEADS, Math.ceil(numHeads / threads))
  const attention: AttendShape = {
    ...{
      ...kv,
      queryBytes: absorbedHead,
      widths: widths.address,
      sinks: sinks?.address ?? 0,
      window,
      pageOffset,
      format,
    },
    groups: cut(numHeads, Math.ceil(numHeads / group)).map(({ first, size }) => {
      return { kvHead: 0, firstHead: first, numHeads: size }
    }),
  }
  const scale = shape.scale ?? scaleOf(plainDim + rotatedDim)
  const rank = qUp?.inputs ?? 0
  const latentAt = qUp === undefined ? numHeads * queryHead : rank * 4 // in a row of the first product
  const [latentHead, valueHead] = [latentDim * 4, valueStride(valueDim) * 4]
  const rowBytes = [
    down.outputBytes,
    rank * 4,
    qUp?.outputBytes ?? 0,
    numHeads * roundedBytes(key.blocks),
    numHeads * absorbedHead,
    numHeads * latentHead,
    numHeads * roundedBytes(value.blocks),
    numHeads * valueHead,
    roundedBytes(Math.max(down.blocks, qUp?.blocks ?? 0, ends.o.blocks)),
    ends.o.outputBytes,
  ]

  const addKeys = (batch: AttentionBatch, x: number): void => {
    const most = pieceOf(batch.rows, kernels.threads)
    for (let first = 0; first < batch.rows; first += most) {
      kernels.task(
        OP.keepLatents,
        x + first * down.outputBytes + latentAt,
        down.outputBytes,
        Math.min(most, batch.rows - first),
        latentDim,
        rotatedDim,
        latentNorm.address,
        floatBits(latentEpsilon),
        batch.tables[shape.rotation]! + first * rotatedDim * 4,
        batch.places + first * 8,
        pageOffset,
        Math.log2(kvNumberBytes(format)),
      )
    }
  }

  /** Queries scaled and rotated; their plain part rounded where the product wants that. */
  const addQueries = (batch: AttentionBatch, q: HeadRows, rounded: number, absorbed: number): void => {
    const most = pieceOf(batch.rows, kernels.threads)
    for (let first = 0; first < batch.rows; first += most) {
      kernels.task(
        OP.prepareQueries,
        q.x + first * q.xStride,
        q.xStride,
        Math.min(most, batch.rows - first),
        numHeads,
        plainDim,
        rotatedDim,
        floatBits(scale),
        batch.tables[shape.rotation]! + first * rotatedDim * 4,
        absorbed + first * numHeads * absorbedHead,
        absorbedHead,
        key.blocks,
        rounded + first * numHeads * key.rowBytes,
        key.rowBytes,
      )
    }
  }

  /** The product of each head with its own rows. */
  const addHeads = (batch: AttentionBatch, products: readonly PlacedLinear[], from: HeadRows, to: HeadRows): void =>
    addProducts(
      kernels,
      products.map((linear, head) => {
        const [x, y] = [from.x + head * from.head, to.x + head * to.head]
        const { rows, inOrder: rowList } = batch
        return { linear, rows: { x, xStride: from.xStride, rowList, rows, y, yStride: to.xStride } }
      }),
    )

  const heads = (x: number, head: number): HeadRows => ({ x, head, xStride: numHeads * head })

  return {
    needs: { workBytes: workBytes(rowBytes), gateStride: ends.gateStride, group, window },
    run: (batch, sums) => {
      const { rows, n, inOrder } = batch
      const work = cutWork(batch, rowBytes)
      const [x = 0, lowRank = 0, up = 0, roundedPlain = 0, absorbed = 0] = work
      const [attended = 0, roundedAttended = 0, merged = 0, rounded = 0, projected = 0] = work.slice(5)
      const q = qUp === undefined ? down : qUp
      const queries = { x: qUp === undefined ? x : up, xStride: q.outputBytes, head: queryHead }
      const plain = key.blocks > 0 ? heads(roundedPlain, key.rowBytes) : queries
      kernels.run(() => {
        ends.enter(batch, sums, down, rounded)
        addProduct(kernels, down, { x: down.blocks > 0 ? rounded : n, rowList: inOrder, rows, y: x })
        kernels.barrier()
        addKeys(batch, x)
        if (qUp !== undefined) {
          const [xStride, weight, epsilon] = [down.outputBytes, qNorm?.address ?? 0, latentEpsilon]
          addNorm(kernels, { x, xStride, rows, width: rank, weight, epsilon, n: lowRank, reader: qUp, rounded })
          kernels.barrier()
          addProduct(kernels, qUp, { x: qUp.blocks > 0 ? rounded : lowRank, rowList: inOrder, rows, y: up })
          kernels.barrier()
        }
        addQueries(batch, queries, roundedPlain, absorbed)
        kernels.barrier()
        addHeads(batch, keys, plain, heads(absorbed + rotatedDim * 4, absorbedHead))
        kernels.barrier()
        const [qStride, yStride] = [numHeads * absorbedHead, numHeads * latentHead]
        addAttention(kernels, batch, attention, { q: absorbed, qStride, y: attended, yStride })
        kernels.barrier()
        if (value.blocks > 0) {
          addRounding(kernels, value, { x: attended, stride: latentHead, rows: rows * numHeads, y: roundedAttended })
          kernels.barrier()
        }
        const read = value.blocks > 0 ? heads(roundedAttended, value.rowBytes) : heads(attended, latentHead)
        addHeads(batch, values, read, heads(merged, valueHead))
        kernels.barrier()
        ends.leave(batch, { attended: merged, rounded, projected })
      })
    },
    expertSums: (batch) => ends.expertSums(batch),
    dispose: () =>
      [ends, down, qUp, qNorm, sinks, latentNorm, ...keys, ...values, widths].forEach((placed) => placed?.dispose()),
  }
}

/** Rows of heads: `head` bytes from one to the next, `xStride` from row to row. */
interface HeadRows {
  readonly x: number
  readonly head: number
  readonly xStride: number
}

const placeHeads = (kernels: Kernels, set: WeightSet, name: string, numHeads: number): readonly PlacedLinear[] =>
  Array.from({ length: numHeads }, (_, head) => placeLinear(kernels, set, `${name}.${head}`))
