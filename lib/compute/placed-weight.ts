// A weight tensor in the engine's memory, read there straight from its file.

import { closeSync, openSync, readSync } from 'node:fs'
import { join } from 'node:path'
import { ClusterError } from '../errors.js'
import type { Kernels } from './kernels.js'
import type { WeightTensor } from './weight-store.js'

export interface PlacedWeight {
  readonly address: number
  dispose(): void
}

const ELEMENT_BYTES = { float: 4, float16: 2, uint8: 1 } as const

/** Copies a tensor. Throws `resource_exhausted` where it does not fit, `internal` where its bytes are not its shape's. */
export function placeWeight(kernels: Kernels, { source, dims, element }: WeightTensor): PlacedWeight {
  const length = 'folder' in source ? source.length : source.byteLength
  const wanted = dims.reduce((product, size) => product * size, ELEMENT_BYTES[element])
  if (length !== wanted) {
    throw new ClusterError('internal', `weights: want ${wanted} bytes for [${dims.join()}], got ${length}`)
  }
  const address = kernels.allocate(length)
  const target = kernels.bytes(address, length)
  if ('folder' in source) readInto(target, join(source.folder, source.file), source.offset)
  else target.set(new Uint8Array(source.buffer, source.byteOffset, length))
  return { address, dispose: () => kernels.release(address) }
}

/** A kernel's parameters, words of 32 bits. */
export function placeWords(kernels: Kernels, words: readonly number[]): PlacedWeight {
  const address = kernels.allocate(words.length * 4)
  kernels.ints(address, words.length).set(words)
  return { address, dispose: () => kernels.release(address) }
}

function readInto(target: Uint8Array, path: string, position: number): void {
  const file = openSync(path, 'r')
  try {
    for (let at = 0; at < target.length;) {
      const count = readSync(file, target, at, target.length - at, position + at)
      if (count === 0) throw new ClusterError('internal', `weights: ${path} ends ${target.length - at} bytes early`)
      at += count
    }
  } finally {
    closeSync(file)
  }
}
