// How many blocks of 32 inputs share a scale, per matrix (after FineQuant): fewer scales take fewer bytes, and cost
// precision where a row's weights differ in size.
//
// Invariants
//   AB1  The relative error ‖W − Ŵ‖ / ‖W‖ of the chosen size is at most ERROR_GROWTH times that of one scale per block.
//   AB2  The choice is a function of the weights alone.

import { errorOfPieces } from './quantise.js'
import { inOneGo, type Steps } from './steps.js'

/** What larger blocks may add to the error of blocks of 32, by bits: at eight there is room, at four there is not. */
export const ERROR_GROWTH = { 8: 1.5, 4: 1.125 } as const

/** Sizes from one block to the whole row, doubling. */
export function blockSizes(blocks: number): readonly number[] {
  const sizes: number[] = []
  for (let size = 1; size < blocks; size *= 2) sizes.push(size)
  return [...sizes, blocks]
}

/** The largest size up to which the error stays under the bound; the rows are read anew for every size that is tried. */
export function* chooseBlocks(pieces: () => Iterable<Float32Array>, bits: 4 | 8, blocks: number): Steps<number> {
  const errorOf = (blocksPerScale: number): Steps<number> => errorOfPieces(pieces(), bits, { blocks, blocksPerScale })
  const [smallest = 1, ...larger] = blockSizes(blocks)
  const bound = (yield* errorOf(smallest)) * ERROR_GROWTH[bits]
  let chosen = smallest
  for (const size of larger) {
    if ((yield* errorOf(size)) > bound) break
    chosen = size
  }
  return chosen
}

/** The same for weights in memory. */
export const chooseBlocksPerScale = (weights: Float32Array, bits: 4 | 8, blocks: number): number =>
  inOneGo(chooseBlocks(() => [weights], bits, blocks))
