// The demonstration model, its draft heads and drawn inputs for them.

import { systemClock } from '../../../lib/actor/clock.js'
import { sharedKernels } from '../../../lib/compute/kernels.js'
import { openCheckpoint } from '../../../lib/model/checkpoint.js'
import { openSafetensors } from '../../../lib/model/safetensors.js'
import { headPath, openHeadFile } from '../../../services/drafter/head-file.js'
import { createRandom } from '../../helpers/random.js'
import { demoModel } from '../../helpers/paths.js'
import type { HeadTensors } from './reference-heads.js'

export const COMPUTE = { kernels: sharedKernels(1), format: 'f32', turn: systemClock.turn } as const

export const openDemo = () => openCheckpoint(demoModel)
export const openDemoHead = (kind: 'eagle' | 'medusa') => openHeadFile(headPath(demoModel, kind))

/** The head's tensors, read once each. */
export function demoTensors(kind: 'eagle' | 'medusa'): HeadTensors {
  const file = openSafetensors(headPath(demoModel, kind))
  const known = new Map<string, Float32Array>()
  return (name) => {
    const tensor = known.get(name) ?? file.readFloat32(name)
    known.set(name, tensor)
    return tensor
  }
}

/** Rows [count, width] about as large as hidden states after the final norm. */
export function drawRows(seed: number, count: number, width: number): Float32Array {
  const random = createRandom(seed)
  return Float32Array.from({ length: count * width }, () => 3 * (random() + random() + random() - 1.5))
}

export function drawTokens(seed: number, count: number, vocabSize: number): Int32Array {
  const random = createRandom(seed)
  return Int32Array.from({ length: count }, () => Math.floor(random() * vocabSize))
}
