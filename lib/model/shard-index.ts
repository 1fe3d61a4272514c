// The safetensors files of a checkpoint folder: one, or the shards that an index names.

import { existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import { ClusterError } from '../errors.js'
import { readJson } from './json-file.js'
import { openSafetensors } from './safetensors.js'
import { shown } from './shown.js'
import type { TensorFile } from './stored-tensor.js'

const INDEX = 'model.safetensors.index.json'

/** Opens all or none. Throws naming the index, file or tensor that is wrong. */
export function openShards(folder: string): readonly TensorFile[] {
  const index = join(folder, INDEX)
  const shards = existsSync(index) ? readIndex(index) : new Map<string, readonly string[]>([['model.safetensors', []]])
  const files: TensorFile[] = []
  try {
    for (const [name, tensors] of shards) files.push(openShard(index, join(folder, name), tensors))
    return files
  } catch (error) {
    for (const file of files) file.close()
    throw error
  }
}

function openShard(index: string, path: string, tensors: readonly string[]): TensorFile {
  const [first] = tensors
  if (first !== undefined && !existsSync(path))
    throw new ClusterError('not_found', `${index}: tensor ${first} is said to be in ${basename(path)}: no such file`)
  const file = openSafetensors(path)
  const absent = tensors.find((name) => !file.tensors.has(name))
  if (absent === undefined) return file
  file.close()
  throw new ClusterError('invalid_argument', `${index}: tensor ${absent} is said to be in ${path}, which lacks it`)
}

/** Names of the tensors of each shard. */
function readIndex(index: string): Map<string, string[]> {
  const refuse = (what: string): never => {
    throw new ClusterError('invalid_argument', `${index}: ${what}`)
  }
  const map = readJson(index).weight_map
  if (typeof map !== 'object' || map === null || Array.isArray(map)) return refuse('want an object weight_map')
  const shards = new Map<string, string[]>()
  for (const [tensor, name] of Object.entries(map)) {
    if (typeof name !== 'string' || basename(name) !== name || ['', '.', '..'].includes(name))
      return refuse(`want plain file names in weight_map, got ${shown(name)} for ${tensor}`)
    const tensors = shards.get(name) ?? []
    tensors.push(tensor)
    shards.set(name, tensors)
  }
  return shards.size > 0 ? shards : refuse('weight_map: want at least one tensor, got none')
}
