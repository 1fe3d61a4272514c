import assert from 'node:assert/strict'
import { join } from 'node:path'
import { numbersThatHold } from '../../../lib/compute/scale-numbers.js'
import { ClusterError, type ErrorCode } from '../../../lib/errors.js'
import { openCheckpoint } from '../../../lib/model/checkpoint.js'
import { fp8BlockSize } from '../../../lib/model/quantisation-config.js'
import { joinQuantised } from '../../../lib/model/quantised-tensors.js'
import { openSafetensors, type SafetensorsFile } from '../../../lib/model/safetensors.js'
import { numRows, rowWidth, type StoredTensor } from '../../../lib/model/stored-tensor.js'
import { readTensor } from '../../../lib/model/tensor-view.js'
import { goldenModel, repositoryRoot } from '../../helpers/paths.js'

const BLOCK = [128, 128] as const

const refuses = (action: () => unknown, code: ErrorCode, ...parts: readonly string[]): void =>
  assert.throws(action, (error) => {
    assert.ok(error instanceof ClusterError && error.code === code, String(error))
    for (const part of parts) assert.ok(error.message.includes(part), `want ${part} in: ${error.message}`)
    return true
  })

describe('joinQuantised', () => {
  let file: SafetensorsFile
  let joined: ReadonlyMap<string, StoredTensor>
  before(() => {
    file = openSafetensors(join(repositoryRoot, 'test', 'fixtures', 'quantised', 'blocks.safetensors'))
    joined = joinQuantised(file.tensors, BLOCK)
  })
  after(() => file.close())

  const tensor = (name: string): StoredTensor => joined.get(name) ?? assert.fail(`no tensor ${name}`)
  /** Item by item, in the order of the shape. */
  const wholeOf = (stored: StoredTensor): Float32Array => {
    const { name, shape } = stored
    if (shape.length < 3) return readTensor(stored, { name, shape })
    const items = Array.from({ length: shape[0]! }, (_, item) =>
      readTensor(stored, { name, shape: shape.slice(1), part: { stored: shape, item } }),
    )
    return Float32Array.from(items.flatMap((values) => [...values]))
  }
  const bits = (values: Float32Array): Uint32Array => new Uint32Array(values.buffer, values.byteOffset, values.length)

  for (const [name, wanted] of [
    ['codes.weight', 'codes.wanted'],
    ['edges.weight', 'edges.wanted'],
    ['exact.weight', 'exact.wanted'],
    ['fused', 'fused.wanted'],
    ['channel.weight', 'channel.wanted'],
    ['tensor.weight', 'tensor.wanted'],
    ['mx', 'mx.wanted'],
  ] as const) {
    it(`${name}: bit for bit what the reference makes of it, whole and by rows (QT1)`, () => {
      const stored = tensor(name)
      const want = file.readFloat32(wanted)
      assert.deepEqual(bits(wholeOf(stored)), bits(want))
      const [rows, width] = [numRows(stored), rowWidth(stored)]
      const whole = stored.readRows(0, rows)
      for (const [first, count] of [
        [rows - 1, 1],
        [Math.floor(rows / 3), Math.ceil(rows / 2)],
      ] as const) {
        assert.deepEqual(stored.readRows(first, count), whole.slice(first * width, (first + count) * width))
      }
    })
  }

  it('MXFP4 as integers of eight bits: the same values, bit for bit but for the sign of zero (QT3)', () => {
    const stored = tensor('mx')
    const rows = numRows(stored)
    const [first, count] = [1, rows - 2]
    const { bits: width, data, scales } = stored.readBlocks?.(first, count) ?? assert.fail('no blocks')
    assert.deepEqual([width, numbersThatHold(scales)[0]], [8, 'bfloat16'])
    const values = Float32Array.from(data, (level, i) => (level - 128) * scales[i >> 5]!)
    assert.deepEqual(
      values,
      stored.readRows(first, count).map((value) => value + 0),
    )
  })

  for (const [model, dtype] of [
    ['gpt-oss-mxfp4', 'MXFP4'],
    ['deepseek-v3-fp8', 'F8_E4M3'],
  ] as const) {
    it(`${model}: a checkpoint with such tensors lacks none and has none left over`, () => {
      const checkpoint = openCheckpoint(goldenModel(model))
      assert.deepEqual([checkpoint.missing, checkpoint.unexpected], [[], []])
      assert.ok([...checkpoint.tensors.values()].some((each) => each.dtype === dtype))
      checkpoint.close()
    })
  }

  it('scales and blocks are gone, and counted with what they belong to (QT2)', () => {
    assert.deepEqual(
      [...joined.keys()].filter((name) => /scale|blocks/.test(name)),
      [],
    )
    assert.deepEqual([tensor('mx').dtype, tensor('mx').numBytes], ['MXFP4', 2 * 6 * 4 * 17])
  })

  it('scales of another shape are refused, naming both tensors and what would do', () =>
    refuses(
      () => joinQuantised(file.tensors, [64, 128]),
      'invalid_argument',
      `${file.path}: tensor edges.weight_scale_inv: want [3, 2] (blocks of 64 × 128), [131, 1] or [1]`,
      'F8_E4M3 edges.weight [131, 137], got [2, 2]',
    ))

  it('MXFP4 without scales, or with others, is refused by name', () => {
    const { mx_blocks: blocks, mx_scales: scales } = Object.fromEntries(file.tensors)
    assert.ok(blocks !== undefined && scales !== undefined)
    const joining = (tensors: readonly StoredTensor[]) => () =>
      joinQuantised(new Map(tensors.map((each) => [each.name, each])), BLOCK)
    refuses(joining([blocks]), 'invalid_argument', 'tensor mx_blocks: want MXFP4 scales mx_scales beside it')
    const short = { ...scales, shape: [2, 6, 3] }
    refuses(joining([blocks, short]), 'invalid_argument', 'mx_scales: want MXFP4 scales U8 [2, 6, 4], got U8 [2, 6, 3]')
    const wide = { ...blocks, shape: [2, 6, 2, 32] }
    refuses(
      joining([wide, scales]),
      'invalid_argument',
      'mx_blocks: want MXFP4 blocks U8 [items, rows, inputs / 32, 16]',
    )
  })
})

describe('fp8BlockSize', () => {
  const sizeOf = (config: unknown) => fp8BlockSize({ quantization_config: config }, 'config.json')

  it('is the configured one, and 128 by 128 unless it is', () => {
    assert.deepEqual(fp8BlockSize({}, 'config.json'), [128, 128])
    assert.deepEqual(sizeOf({ quant_method: 'mxfp4' }), [128, 128])
    assert.deepEqual(sizeOf({ quant_method: 'fp8', weight_block_size: [64, 32] }), [64, 32])
    refuses(
      () => sizeOf({ quant_method: 'fp8', weight_block_size: [64] }),
      'invalid_argument',
      'weight_block_size',
      '[64]',
    )
  })

  it('names the method of checkpoints that are not served, and what is', () => {
    for (const method of ['awq', 'gptq', 'bitsandbytes', undefined])
      refuses(
        () => sizeOf({ quant_method: method, bits: 4 }),
        'unimplemented',
        'config.json: quantization_config: quant_method: want fp8, mxfp4 or none',
        `got ${method === undefined ? 'nothing' : `"${method}"`}`,
      )
    refuses(
      () => sizeOf({ quant_method: 'compressed-tensors', format: 'pack-quantized' }),
      'unimplemented',
      'got "compressed-tensors" with format "pack-quantized"',
    )
    assert.deepEqual(sizeOf({ quant_method: 'compressed-tensors', format: 'float-quantized' }), [128, 128])
  })
})
