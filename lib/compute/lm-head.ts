// Final norm and LM head for the rows that are sampled.

import type { WeightFormat } from '../model/spec.js'
import { attentionFormat } from '../model/weight-formats.js'
import type { Kernels } from './kernels.js'
import type { LinearWeights } from './linear-weights.js'
import { addNorm } from './norm-tasks.js'
import { addProduct, placeLinear } from './placed-linear.js'
import { placeWeight } from './placed-weight.js'
import { placeFloats } from './room.js'
import type { Steps } from './steps.js'
import { packTiles, TILE } from './tiles.js'
import { floatWeight, weightOf, type WeightSet } from './weight-store.js'

export interface HeadWeights {
  readonly norm: Float32Array // [hidden]
  readonly head: LinearWeights // [vocab, hidden]
}

export interface HeadShape {
  readonly hidden: number
  readonly vocabSize: number
  readonly epsilon: number
}

export interface LmHead {
  /** Logits of rows of x [numRows, hidden]: one array [vocab] per row, to be read before the engine's next run. */
  run(x: Float32Array, rows: readonly number[]): readonly Float32Array[]
  /** Rows of x [rows, hidden] after the final norm, as the head's product reads them: what draft heads read. */
  norm(x: Float32Array): Float32Array
  dispose(): void
}

/** The weights `norm` and `head`. */
export function* packLmHead({ norm, head }: HeadWeights, format: WeightFormat): Steps<WeightSet> {
  const tiles = yield* packTiles('head', head, attentionFormat(format))
  return { norm: floatWeight(norm, [norm.length]), ...tiles }
}

/** The head packed by `packLmHead`, in the engine's memory. */
export function createLmHead(kernels: Kernels, set: WeightSet, { hidden, vocabSize, epsilon }: HeadShape): LmHead {
  const norm = placeWeight(kernels, weightOf(set, 'norm'))
  const head = placeLinear(kernels, set, 'head')
  return {
    run: (x, rows) => {
      const { scratch } = kernels
      scratch.reset()
      const count = rows.length
      const h = scratch.take(count * hidden * 4)
      rows.forEach((row, i) =>
        kernels.floats(h + i * hidden * 4, hidden).set(x.subarray(row * hidden, (row + 1) * hidden)),
      )
      const n = scratch.take(count * hidden * 4)
      const rounded = head.blocks > 0 ? scratch.take(count * head.rowBytes) : 0
      const inOrder = scratch.take(count * 4)
      kernels.ints(inOrder, count).set([...rows.keys()])
      const logits = scratch.take(count * head.outputBytes)
      const normed = { x: h, rows: count, width: hidden, weight: norm.address, epsilon, n, reader: head, rounded }
      kernels.run(() => {
        addNorm(kernels, normed)
        kernels.barrier()
        addProduct(kernels, head, { x: head.blocks > 0 ? rounded : n, rowList: inOrder, rows: count, y: logits })
      })
      return rows.map((_, i) => kernels.floats(logits + i * head.tiles * TILE * 4, vocabSize))
    },
    norm: (x) => {
      const { scratch } = kernels
      scratch.reset()
      const h = placeFloats(kernels, scratch, x)
      const n = scratch.take(x.byteLength)
      const rows = { x: h, rows: x.length / hidden, width: hidden, weight: norm.address, epsilon, n }
      kernels.run(() => addNorm(kernels, rows))
      return kernels.floats(n, x.length).slice()
    },
    dispose: () => {
      norm.dispose()
      head.dispose()
    },
  }
}
