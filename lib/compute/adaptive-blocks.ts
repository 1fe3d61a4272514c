// How many blocks of 32 inputs share a scale, per matrix (after FineQuant): fewer scales take fewer bytes, and cost
// precision where a row's weights differ in size.
//
// Invariants
//   AB1  The relative error ‖W − Ŵ‖ / ‖W‖ of the chosen size is at most ERROR_GROWTH times that of one scale per block.
//   AB2  The choice is a function of the weights alone.

import { levelAt, quantise, type QuantisedMatrix, type ScaleGroups } from './quantise.js'

/** What larger blocks may add to the error of blocks of 32, by bits: at eight there is room, at four there is not. */
export const ERROR_GROWTH = { 8: 1.5, 4: 1.125 } as const

/** Sizes from one block to the whole row, doubling. */
export function blockSizes(blocks: number): readonly number[] {
  const sizes: number[] = []
  for (let size = 1; size < blocks; size *= 2) sizes.push(size)
  return [...sizes, blocks]
}

/** The largest size up to which the error stays under the bound. */
export function chooseBlocksPerScale(weights: Float32Array, bits: 4 | 8, blocks: number): number {
  const errorOf = (blocksPerScale: number): number => {
    const groups = { blocks, blocksPerScale }
    return relativeError(weights, quantise(weights, bits, groups), blocks)
  }
  const [smallest = 1, ...larger] = blockSizes(blocks)
  const bound = errorOf(smallest) * ERROR_GROWTH[bits]
  let chosen = smallest
  for (const size of larger) {
    if (errorOf(size) > bound) break
    chosen = size
  }
  return chosen
}

/** ‖W − Ŵ‖ / ‖W‖; 0 for a matrix of zeros. */
export function relativeError(weights: Float32Array, integers: QuantisedMatrix, blocks: ScaleGroups['blocks']): number {
  const { scales, blocksPerScale } = integers
  const scalesPerRow = Math.ceil(blocks / blocksPerScale)
  let [lost, all] = [0, 0]
  for (let block = 0; block * 32 < weights.length; block++) {
    const scale = scales[Math.floor(block / blocks) * scalesPerRow + Math.floor((block % blocks) / blocksPerScale)]!
    for (let i = block * 32; i < block * 32 + 32; i++) {
      const weight = weights[i]!
      lost += (weight - levelAt(integers, i) * scale) ** 2
      all += weight ** 2
    }
  }
  return all === 0 ? 0 : Math.sqrt(lost / all)
}
