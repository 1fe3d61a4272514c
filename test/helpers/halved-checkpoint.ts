// A copy of a golden checkpoint whose matrices hold what float16 makes of them, but for gates.

import { cpSync } from 'node:fs'
import { join } from 'node:path'
import { openModel, wantedTensors } from '../../lib/model/checkpoint.js'
import { toFloat32 } from '../../lib/model/dtypes.js'
import { toFloat16 } from '../../lib/model/gguf/encoding.js'
import { writeSafetensors, type FloatTensor } from '../../lib/model/safetensors.js'
import { goldenModel } from './paths.js'

/** Writes it into the folder; `change` may put other values where they were. Returns its path. */
export async function halvedCheckpoint(
  family: string,
  folder: string,
  change: (name: string, values: Float32Array) => void = () => undefined,
): Promise<string> {
  const copy = join(folder, `${family}-halved`)
  const isMatrix = (shape: readonly number[], name: string): boolean => shape.length > 1 && !/gate\.weight$/.test(name)
  cpSync(goldenModel(family), copy, { recursive: true, filter: (path) => !/safetensors/.test(path) })
  const checkpoint = await openModel(goldenModel(family))
  const tensors = [...wantedTensors(checkpoint.spec).values()].map((ref): [string, FloatTensor] => {
    const data = checkpoint.tensor(ref)
    const halves = isMatrix(ref.shape, ref.name) ? toFloat32(new Uint8Array(toFloat16(data).buffer), 'F16', '') : data
    change(ref.name, halves)
    return [ref.name, { data: halves, shape: ref.shape }]
  })
  checkpoint.close()
  writeSafetensors(join(copy, 'model.safetensors'), Object.fromEntries(tensors))
  return copy
}
