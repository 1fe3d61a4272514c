// Multi-head latent attention between its products: what the cache keeps of a row, and queries in the space of latent
// vectors. All heads share one key, [rotated | latent], and one value, the latent vector.

import { keepKey, keepValue, keyPlace, PAGE_SLOTS_LOG2 } from './pages'
import { rotateHead, scaleRow } from './rotation'
import { normRow, quantiseRow } from './rows'

/** Norms latent vectors and rotates the shared keys in place; both go to their slots. */
@unmanaged
export class LatentKeys {
  op: i32
  x: usize // rows of [latent | shared key]
  xStride: usize
  rows: i32
  latentDim: i32
  rotatedDim: i32 // even
  weight: usize
  epsilon: f32
  tables: usize // per row rotatedDim / 2 cosines, then as many sines
  places: usize // per row: address of the page, slot in it
  pageOffset: usize // from a page's address to this layer's part
  keptLog2: usize // bytes of a number in a page, as a power of two
}

/** Scales queries; their rotated part goes to where it stands before the latent one, the plain part is rounded. */
@unmanaged
export class LatentQueries {
  op: i32
  x: usize // rows of heads of [plain | rotated]
  xStride: usize
  rows: i32
  heads: i32
  plainDim: i32
  rotatedDim: i32 // even
  scale: f32
  tables: usize
  y: usize // [rows, heads]: the rotated part first
  yHead: usize // bytes of a head
  blocks: i32 // 0: the plain part is not rounded
  q: usize // [rows, heads]: the plain part rounded
  qHead: usize
}

export function keepLatents(p: LatentKeys): void {
  const latentDim = <usize>p.latentDim
  const rotatedDim = <usize>p.rotatedDim
  const headDim = rotatedDim + latentDim
  for (let row: usize = 0; row < <usize>p.rows; row++) {
    const latent = p.x + row * p.xStride
    const shared = latent + (latentDim << 2)
    normRow(latent, p.latentDim, p.weight, p.epsilon, latent)
    rotateHead(shared, rotatedDim << 1, p.tables + row * (rotatedDim << 2), 1)
    const place = p.places + (row << 3)
    const page = <usize>load<i32>(place) + p.pageOffset
    const slot = <usize>load<i32>(place, 4)
    const log2 = p.keptLog2
    keepKey(latent, latentDim, keepKey(shared, rotatedDim, page + keyPlace(slot, headDim, log2), log2), log2)
    const values = page + (headDim << (PAGE_SLOTS_LOG2 + log2))
    keepValue(latent, latentDim, values + ((slot * latentDim) << log2), log2)
  }
}

export function prepareQueries(p: LatentQueries): void {
  const plain = <usize>p.plainDim << 2
  const rotated = <usize>p.rotatedDim << 2
  let y = p.y
  let q = p.q
  for (let row: usize = 0; row < <usize>p.rows; row++) {
    let x = p.x + row * p.xStride
    const tables = p.tables + row * rotated
    for (let head = 0; head < p.heads; head++) {
      scaleRow(x, x + plain, p.scale)
      if (p.blocks > 0) quantiseRow(x, p.blocks, q)
      memory.copy(y, x + plain, rotated)
      rotateHead(y, rotated >> 1, tables, p.scale)
      x += plain + rotated
      y += p.yHead
      q += p.qHead
    }
  }
}
