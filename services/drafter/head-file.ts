// A file of draft-head weights beside a checkpoint, checked as it is read: a wrong shape is one error that names the
// file, the tensor, what was found and what was wanted.

import { existsSync } from 'node:fs'
import { join } from 'node:path'
import type { LinearWeights } from '../../lib/compute/linear-weights.js'
import { ClusterError } from '../../lib/errors.js'
import { openSafetensors } from '../../lib/model/safetensors.js'

export interface HeadFile {
  readonly path: string
  has(name: string): boolean
  /** Throws `invalid_argument` where there is no such tensor. */
  shape(name: string): readonly number[]
  /** Values of a tensor of that shape. */
  tensor(name: string, wanted: readonly number[]): Float32Array
  /** `name.weight` [outputs, inputs] and `name.bias` [outputs], where there is one. */
  linear(name: string, inputs: number, outputs: number): LinearWeights
  close(): void
}

/** Where the weights of a kind of head lie beside a model. */
export const headPath = (model: string, kind: string): string => join(model, kind, 'model.safetensors')

export const hasHead = (model: string, kind: string): boolean => existsSync(headPath(model, kind))

export function openHeadFile(path: string): HeadFile {
  const file = openSafetensors(path)
  const shape = (name: string): readonly number[] => {
    const found = file.tensors.get(name)?.shape
    if (found === undefined) throw new ClusterError('invalid_argument', `${path}: missing tensor ${name}`)
    return found
  }
  const tensor: HeadFile['tensor'] = (name, wanted) => {
    const found = shape(name)
    if (found.length !== wanted.length || found.some((size, i) => size !== wanted[i])) {
      throw new ClusterError(
        'invalid_argument',
        `${path}: tensor ${name}: want [${wanted.join(', ')}], got [${found.join(', ')}]`,
      )
    }
    return file.readFloat32(name)
  }
  const has = (name: string): boolean => file.tensors.has(name)
  return {
    path,
    has,
    shape,
    tensor,
    linear: (name, inputs, outputs) => {
      const bias = has(`${name}.bias`) ? tensor(`${name}.bias`, [outputs]) : undefined
      const weights = tensor(`${name}.weight`, [outputs, inputs])
      return { weights, tensor: `${path}: tensor ${name}.weight`, inputs, outputs, bias }
    },
    close: () => file.close(),
  }
}
