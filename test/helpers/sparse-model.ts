// A checkpoint folder of declared sizes whose weights are zeros that take no room on the disk.

import { closeSync, ftruncateSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { wantedTensors } from '../../lib/model/checkpoint.js'
import { sizeOf } from '../../lib/model/stored-tensor.js'
import { declaredSpec } from './declared-models.js'

export function writeSparseModel(folder: string, config: Readonly<Record<string, unknown>>): void {
  mkdirSync(folder, { recursive: true })
  let end = 0
  const entries = [...wantedTensors(declaredSpec(config)).values()].map(({ name, shape }) => {
    const begin = end
    end += sizeOf(shape) * 2
    return [name, { dtype: 'BF16', shape, data_offsets: [begin, end] }] as const
  })
  const header = Buffer.from(JSON.stringify(Object.fromEntries(entries)))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(header.length))
  const file = openSync(join(folder, 'model.safetensors'), 'w')
  writeSync(file, Buffer.concat([length, header]))
  ftruncateSync(file, 8 + header.length + end)
  closeSync(file)
  writeFileSync(join(folder, 'config.json'), JSON.stringify(config))
}
