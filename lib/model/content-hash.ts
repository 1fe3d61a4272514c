// Names for what a model's files hold.

import { createHash } from 'node:crypto'
import { statSync } from 'node:fs'
import type { ModelSource } from './model-source.js'
import type { TensorFile } from './stored-tensor.js'

const WHOLE_BYTES = 64 * 1024 * 1024
const NUM_SAMPLES = 256
const SAMPLE_BYTES = 4096
const PIECE_BYTES = 2 ** 18

type Hashed = Pick<ModelSource, 'configText' | 'files'>

/**
 * Identity of configuration and weights: the configuration's text, every header, and the data, whole up to 64 MB a
 * file, above that 256 evenly spaced samples of 4 KB.
 */
export function fingerprintOf({ configText, files }: Hashed): string {
  const hash = createHash('sha256').update(configText)
  const room = new Uint8Array(PIECE_BYTES) // for one piece after the other: a large file leaves nothing to collect
  for (const file of files) {
    hash.update(file.header).update(String(file.sizeBytes))
    for (const { offset, length } of hashedPieces(file)) {
      const piece = room.subarray(0, length)
      file.readInto(piece, offset)
      hash.update(piece)
    }
  }
  return hash.digest('hex').slice(0, 16)
}

function* hashedPieces(file: TensorFile): Generator<{ readonly offset: number; readonly length: number }> {
  const { sizeBytes } = file
  if (isHashedWhole(file)) {
    for (let offset = 0; offset < sizeBytes; offset += PIECE_BYTES) {
      yield { offset, length: Math.min(PIECE_BYTES, sizeBytes - offset) }
    }
    return
  }
  const stride = (sizeBytes - SAMPLE_BYTES) / (NUM_SAMPLES - 1)
  for (let i = 0; i < NUM_SAMPLES; i++) yield { offset: Math.floor(i * stride), length: SAMPLE_BYTES }
}

/**
 * The fingerprint, and of files that it samples which file that is and when it was last written: samples miss a change
 * of one tensor, the times do not.
 */
export function weightKeyOf(fingerprint: string, files: readonly TensorFile[]): string {
  const sampled = files.filter((file) => !isHashedWhole(file))
  if (sampled.length === 0) return fingerprint
  const hash = createHash('sha256')
  for (const { path } of sampled) {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true })
    hash.update([dev, ino, size, mtimeNs, ctimeNs].join())
  }
  return `${fingerprint}-${hash.digest('hex').slice(0, 16)}`
}

const isHashedWhole = ({ sizeBytes }: TensorFile): boolean => sizeBytes <= WHOLE_BYTES
