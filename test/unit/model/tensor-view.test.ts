import assert from 'node:assert/strict'
import fc from 'fast-check'
import { ClusterError } from '../../../lib/errors.js'
import type { TensorPart, TensorRef } from '../../../lib/model/spec.js'
import { numRows, rowWidth, sizeOf, type StoredBlocks, type StoredTensor } from '../../../lib/model/stored-tensor.js'
import { readTensor, readTensorBlocks, readTensorRows } from '../../../lib/model/tensor-view.js'

interface Kept extends StoredTensor {
  readonly read: { values: number; most: number }
}

/** A tensor whose values in the order of `shape` are `data`, lying transposed or not. */
function stored(data: Float32Array, shape: readonly number[], isTransposed = false): Kept {
  const [rows = 1, columns = 1] = shape.slice(-2)
  const size = rows * columns
  const at = (i: number): number => {
    const item = Math.floor(i / size) * size
    return isTransposed ? item + (i % rows) * columns + Math.floor((i - item) / rows) : i
  }
  const lies = isTransposed ? data.map((_, i) => data[at(i)]!) : data
  const read = { values: 0, most: 0 }
  const width = rowWidth({ shape, isTransposed })
  return {
    name: 't',
    file: 'f.safetensors',
    dtype: 'F32',
    shape,
    numBytes: data.byteLength,
    isTransposed,
    read,
    readRows: (first, count) => {
      assert.ok(
        first >= 0 && count > 0 && first + count <= numRows({ shape, isTransposed }),
        `rows ${first} + ${count}`,
      )
      read.values += count * width
      read.most = Math.max(read.most, count * width)
      return lies.slice(first * width, (first + count) * width)
    },
  }
}

const counting = (size: number): Float32Array => new Float32Array(size).map((_, i) => i)

describe('readTensor', () => {
  it('any part of a tensor, whichever way it lies, is what plain indexing gives', () => {
    const draw = fc.record({
      items: fc.integer({ min: 1, max: 4 }),
      rows: fc.integer({ min: 1, max: 9 }),
      columns: fc.integer({ min: 1, max: 9 }),
      isFused: fc.boolean(),
      wantsTransposed: fc.boolean(),
      liesTransposed: fc.boolean(),
      seed: fc.nat(),
    })
    fc.assert(
      fc.property(draw, ({ items, rows, columns, isFused, wantsTransposed, liesTransposed, seed }) => {
        const shape = isFused ? [items, rows, columns] : [rows, columns]
        const data = counting(sizeOf(shape))
        const tensor = stored(data, shape, liesTransposed)
        const item = isFused ? seed % items : undefined
        const [outputs, inputs] = wantsTransposed ? [columns, rows] : [rows, columns]
        const order = Array.from({ length: 1 + (seed % (2 * outputs)) }, (_, i) => (i * 7 + seed) % outputs)
        const part: TensorPart = {
          stored: shape,
          ...(item === undefined ? {} : { item }),
          isTransposed: wantsTransposed,
          rowOf: (row) => order[row]!,
        }
        const ref: TensorRef = { name: 't', shape: [order.length, inputs], part, times: 2, plus: 1 }
        const valueAt = (row: number, column: number): number => {
          const [r, c] = wantsTransposed ? [column, row] : [row, column]
          return 2 * data[((item ?? 0) * rows + r) * columns + c]! + 1
        }
        const wanted = order.flatMap((row) => Array.from({ length: inputs }, (_, column) => valueAt(row, column)))
        assert.deepEqual([...readTensor(tensor, ref)], wanted)
        const first = seed % order.length
        assert.deepEqual(
          [...readTensorRows(tensor, ref, { first, count: order.length - first })],
          wanted.slice(first * inputs),
        )
      }),
      { numRuns: 300 },
    )
  })

  it('an item of a fused vector, and some of its elements', () => {
    const tensor = stored(counting(12), [3, 4])
    const part = { stored: [3, 4], item: 1 }
    assert.deepEqual([...readTensor(tensor, { name: 't', shape: [4], part })], [4, 5, 6, 7])
    const odd: TensorRef = { name: 't', shape: [2], part: { ...part, rowOf: (row) => 2 * row + 1 } }
    assert.deepEqual([...readTensor(tensor, odd)], [5, 7])
  })

  it('reads an item only, piece by piece (TV1, TV2)', () => {
    const shape = [3, 600, 1000]
    for (const isTransposed of [false, true]) {
      for (const rowOf of [undefined, (row: number): number => (row + 13) % 600]) {
        const tensor = stored(counting(sizeOf(shape)), shape)
        const size = isTransposed ? [1000, 600] : [600, 1000]
        readTensor(tensor, {
          name: 't',
          shape: size,
          part: { stored: shape, item: 2, isTransposed, ...(rowOf && { rowOf }) },
        })
        assert.ok(tensor.read.values <= 600 * 1000, `read ${tensor.read.values}`)
        const isDirect = !isTransposed && rowOf === undefined // straight into the result
        assert.ok(isDirect || tensor.read.most <= 256 * 1024, `at once ${tensor.read.most}`)
      }
    }
  })

  it('rows of every other kind are read once or twice, never each on its own', () => {
    const tensor = stored(counting(4000 * 64), [4000, 64])
    let calls = 0
    const counted = {
      ...tensor,
      readRows: (first: number, count: number) => ((calls += 1), tensor.readRows(first, count)),
    }
    readTensor(counted, { name: 't', shape: [2000, 64], part: { stored: [4000, 64], rowOf: (row) => 2 * row } })
    assert.ok(calls <= 2 && tensor.read.values <= 4000 * 64, `${calls} calls, ${tensor.read.values} values`)
  })

  it('refuses what is not finite, naming file, tensor, count and first place (TV3)', () => {
    const data = counting(12)
    data[5] = NaN
    data[10] = -Infinity
    const message = 'f.safetensors: tensor t: want finite values, got 2 of 12 that are not, the first NaN at [1, 1]'
    assert.throws(
      () => readTensor(stored(data, [3, 4]), { name: 't', shape: [3, 4] }),
      (error) => error instanceof ClusterError && error.code === 'invalid_argument' && error.message === message,
    )
    const ref: TensorRef = { name: 't', shape: [2, 2], part: { stored: [3, 2, 2], item: 2 } }
    assert.throws(
      () => readTensor(stored(data, [3, 2, 2]), ref),
      /1 of 4 that are not of item 2, the first -Infinity at \[1, 0\]/,
    )
    assert.throws(
      () => readTensorRows(stored(data, [3, 4]), { name: 't', shape: [3, 4] }, { first: 2, count: 1 }),
      /at \[2, 2\]/,
    )
  })

  it('hands out blocks as they lie, of an item too, with rows in the order asked for, and none of columns', () => {
    const asked: number[][] = []
    const tensor: StoredTensor = {
      ...stored(counting(2 * 32 * 64), [2, 32, 64], true),
      readBlocks: (first, count) => {
        asked.push([first, count])
        const rows = Array.from({ length: count }, (_, row) => first + row)
        const data = Uint8Array.from(rows.flatMap((row) => Array.from({ length: 32 }, () => row)))
        return { bits: 8, data, scales: Float32Array.from(rows) }
      },
    }
    const part = { stored: [2, 32, 64], item: 1, isTransposed: true }
    assert.equal(readTensorBlocks(tensor, { name: 't', shape: [64, 32], part })?.scales[0], 64)
    const rowOf = (row: number): number => 63 - 2 * row
    const turned = readTensorBlocks(tensor, { name: 't', shape: [32, 32], part: { ...part, rowOf } })
    assert.deepEqual(
      [turned?.data.length, turned?.data[0], turned?.data[32], turned?.data.at(-1)],
      [1024, 127, 125, 65],
    )
    assert.deepEqual(Array.from(turned?.scales.subarray(0, 3) ?? []), [127, 125, 123])
    const some = readTensorBlocks(tensor, { name: 't', shape: [32, 32], part: { ...part, rowOf } }, 2, 3)
    assert.deepEqual(Array.from(some?.scales ?? []), [123, 121, 119])
    assert.deepEqual(asked, [
      [64, 64],
      [65, 63],
      [119, 5],
    ])
    assert.equal(
      readTensorBlocks(tensor, { name: 't', shape: [32, 64], part: { stored: [2, 32, 64], item: 1 } }),
      undefined,
    )
    assert.equal(readTensorBlocks(tensor, { name: 't', shape: [64, 32], part, times: 2 }), undefined)
  })

  it('refuses blocks whose scales are not finite', () => {
    const scales = Float32Array.of(1, 1, NaN, 1)
    const readBlocks = (): StoredBlocks => ({ bits: 8, data: new Uint8Array(128), scales })
    const tensor: StoredTensor = { ...stored(counting(128), [2, 64]), readBlocks }
    assert.throws(
      () => readTensorBlocks(tensor, { name: 't', shape: [2, 64] }),
      /tensor t: want finite scales, got 1 of 4 that are not, the first NaN at \[1, 0\]/,
    )
  })
})
