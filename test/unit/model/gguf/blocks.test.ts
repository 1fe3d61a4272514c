// Blocks against what the `gguf` Python package makes of the same bytes (fixtures/gguf), bit for bit.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { decodeBlocks, integerBlocks } from '../../../../lib/model/gguf/blocks.js'
import { GGUF_FORMATS, type GgufFormatName } from '../../../../lib/model/gguf/formats.js'
import { repositoryRoot } from '../../../helpers/paths.js'

const folder = join(repositoryRoot, 'test', 'fixtures', 'gguf', 'blocks')
const bytesOf = (name: string): Uint8Array<ArrayBuffer> => Uint8Array.from(readFileSync(join(folder, name)))
const bits = (values: Float32Array): Uint32Array => new Uint32Array(values.buffer, values.byteOffset, values.length)

describe('GGUF blocks', () => {
  for (const format of Object.keys(GGUF_FORMATS) as GgufFormatName[]) {
    it(`decodes ${format} to the bits of the reference (GB1)`, () => {
      const wanted = new Float32Array(bytesOf(`${format}.f32`).buffer)
      assert.deepEqual(bits(decodeBlocks(format, bytesOf(`${format}.blocks`))), bits(wanted))
    })
  }

  for (const format of ['Q8_0', 'Q4_0', 'MXFP4'] as const) {
    it(`gives the levels and scales of ${format} as they are (GB2)`, () => {
      const stored = bytesOf(`${format}.blocks`)
      const { bits: width, data, scales } = integerBlocks(format, stored)
      const level = (i: number): number =>
        width === 8 ? data[i]! - 128 : ((data[i >> 1]! >> (i & 1 ? 4 : 0)) & 15) - 8
      const values = Float32Array.from({ length: scales.length * 32 }, (_, i) => scales[i >> 5]! * level(i))
      assert.deepEqual(bits(values), bits(decodeBlocks(format, stored)))
    })
  }
})
