// A model that is split over several files, as llama.cpp's gguf-split cuts it: the first holds the metadata, each its
// share of the tensors. https://github.com/ggml-org/llama.cpp/tree/master/tools/gguf-split
//
// Invariants
//   GS1  All parts are there, in their order, and together hold each tensor once, as many as the first says.

import { basename } from 'node:path'
import { ClusterError } from '../../errors.js'
import type { TensorFile } from '../stored-tensor.js'
import { openGgufFile } from './file.js'
import { readGgufHeader, type GgufHeader, type GgufTensorInfo } from './header.js'

const NAME = /^(.*)-(\d{5})-of-(\d{5})\.gguf$/s

const partName = (stem: string, part: number, count: number): string =>
  `${stem}-${String(part).padStart(5, '0')}-of-${String(count).padStart(5, '0')}.gguf`

/** The first part, where all of these names are those of parts of one model. */
export function firstPartOf(names: readonly string[]): string | undefined {
  const [first, ...others] = names.map((name) => NAME.exec(name))
  if (first === undefined || first === null) return undefined
  const [, stem = '', , count] = first
  return others.every((other) => other?.[1] === stem && other[3] === count)
    ? partName(stem, 1, Number(count))
    : undefined
}

/** The headers of a model's files, of most models one. Throws naming the file and the key that is wrong. */
export async function readParts(path: string): Promise<readonly GgufHeader[]> {
  const first = await readGgufHeader(path)
  const count = first.fields.count('split.count', 1)
  if (count <= 1) return [first]
  const [, stem = '', part, of] = NAME.exec(path) ?? []
  if (first.fields.count('split.no', 0) !== 0)
    first.fields.refuse('split.no', `0, which the first part has: name ${basename(partName(stem, 1, count))}`)
  if (Number(part) !== 1 || Number(of) !== count)
    first.fields.refuse('split.count', `one file, or a name that ends in ${partName('', 1, count)}`)
  const headers = [first]
  for (let no = 1; no < count; no++) {
    const header = await readGgufHeader(partName(stem, no + 1, count))
    checkKey(header, 'split.no', no)
    checkKey(header, 'split.count', count)
    headers.push(header)
  }
  return headers
}

function checkKey({ fields }: GgufHeader, key: string, wanted: number): void {
  if (fields.count(key) !== wanted) fields.refuse(key, `${wanted}, by the name of the file`)
}

/** The header of the whole model: the first one's metadata, the tensors of all. */
export function joined(headers: readonly GgufHeader[]): GgufHeader {
  const [first] = headers
  if (first === undefined) throw new ClusterError('internal', 'GGUF: want at least one header')
  if (headers.length === 1) return first
  const tensors = new Map<string, GgufTensorInfo>()
  for (const header of headers) {
    for (const [name, tensor] of header.tensors) {
      if (tensors.has(name))
        throw new ClusterError(
          'invalid_argument',
          `${header.path}: tensor ${name}: want it once, got it in another part too`,
        )
      tensors.set(name, tensor)
    }
  }
  const key = 'split.tensors.count'
  if (first.fields.count(key, tensors.size) !== tensors.size)
    first.fields.refuse(key, `${tensors.size}, as many as the parts have`)
  return { ...first, tensors }
}

/** Opens all or none. */
export function openParts(headers: readonly GgufHeader[]): readonly TensorFile[] {
  const files: TensorFile[] = []
  try {
    for (const header of headers) files.push(openGgufFile(header))
    return files
  } catch (error) {
    for (const file of files) file.close()
    throw error
  }
}
