// Tasks of an RMS norm over rows, with the residual added before and the rounding that a product wants after.

import { floatBits, OP, type Kernels } from './kernels.js'
import type { PlacedLinear } from './placed-linear.js'
import { pieceOf } from './room.js'

/** All addresses; rows are `width` float32, one after the other (those of x and delta may lie further apart). */
export interface NormRows {
  readonly x: number
  readonly xStride?: number // bytes
  /** h = x + delta is normed, and kept at `h`. */
  readonly residual?: { readonly delta: number; readonly deltaStride?: number; readonly h: number } | undefined
  readonly rows: number
  readonly width: number
  readonly weight: number
  readonly epsilon: number
  readonly n: number
  /** The product that reads n rounded, at `rounded`. */
  readonly reader?: Pick<PlacedLinear, 'blocks' | 'rowBytes'> | undefined
  readonly rounded?: number
}

/** Norms rows, some for every thread. */
export function addNorm(kernels: Kernels, norm: NormRows): void {
  const { residual, rows, width, reader } = norm
  const stride = width * 4
  const xStride = norm.xStride ?? stride
  const deltaStride = residual?.deltaStride ?? stride
  const most = pieceOf(rows, kernels.threads)
  for (let first = 0; first < rows; first += most) {
    kernels.task(
      OP.norm,
      norm.x + first * xStride,
      residual === undefined ? 0 : residual.delta + first * deltaStride,
      residual === undefined ? 0 : residual.h + first * stride,
      Math.min(most, rows - first),
      width,
      norm.weight,
      floatBits(norm.epsilon),
      norm.n + first * stride,
      reader?.blocks ?? 0,
      (norm.rounded ?? 0) + first * (reader?.rowBytes ?? 0),
      reader?.rowBytes ?? 0,
      deltaStride,
      xStride,
    )
  }
}
