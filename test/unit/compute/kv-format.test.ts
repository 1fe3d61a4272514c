// What a cache in float16 keeps: the nearest float16 of every value, for all of them and for what lies between.

import assert from 'node:assert/strict'
import { floatBits, OP, sharedKernels } from '../../../lib/compute/kernels.js'
import { pageBytes, PAGE_SLOTS } from '../../../lib/compute/kv-layout.js'

const LARGEST = 0x7bff
const WIDTH = 1024 // values of a row, one head

/** What a float16 stands for, by its definition (IEEE 754, binary16). */
function valueOf(half: number): number {
  const sign = half & 0x8000 ? -1 : 1
  const [exponent, fraction] = [(half >> 10) & 31, half & 1023]
  return sign * (exponent === 0 ? fraction * 2 ** -24 : (1024 + fraction) * 2 ** (exponent - 25))
}

/** The float16 that a page keeps of each value. */
function kept(values: readonly number[]): number[] {
  const kernels = sharedKernels(1)
  const kv = { numKvHeads: 1, headDim: WIDTH, valueDim: WIDTH }
  const result: number[] = []
  const page = kernels.allocate(pageBytes([kv], 'f16'))
  const row = kernels.allocate(3 * WIDTH * 4) // query, key, value
  const words = kernels.allocate(64)
  const place = kernels.allocate(8)
  const table = kernels.allocate(8)
  kernels.ints(words, 12).set([1, 1, WIDTH, 2, 0, 0, 0, 0, floatBits(Infinity), floatBits(1), 0, 1])
  kernels.ints(place, 2).set([page, 3])
  kernels.floats(table, 2).set([1, 0]) // not rotated
  const valuesAt = page + WIDTH * PAGE_SLOTS * 2 + 3 * WIDTH * 2
  for (let first = 0; first < values.length; first += WIDTH) {
    const part = values.slice(first, first + WIDTH)
    kernels.floats(row, 3 * WIDTH).fill(0)
    kernels.floats(row + 2 * WIDTH * 4, part.length).set(part)
    kernels.run(() => kernels.task(OP.rotate, words, row, 3 * WIDTH * 4, 1, table, place))
    const { buffer } = kernels.bytes(valuesAt, 2)
    result.push(...new Uint16Array(buffer, valuesAt, part.length))
  }
  for (const address of [page, row, words, place, table]) kernels.release(address)
  return result
}

const halves = Array.from({ length: LARGEST + 1 }, (_, half) => half)

describe('KV in float16', () => {
  it('keeps every float16 as it is, of both signs', () => {
    for (const sign of [0, 0x8000]) {
      const wanted = halves.map((half) => half | sign)
      assert.deepEqual(kept(wanted.map(valueOf)), wanted)
    }
  })

  it('rounds to the nearest, at a tie to the even one', () => {
    const pairs = halves.slice(1).map((half) => [half - 1, half] as const)
    const middle = pairs.map(([low, high]) => (valueOf(low) + valueOf(high)) / 2) // exact in float32
    const [below, above] = [-1, 1].map((step) => middle.map((value) => nextFloat(value, step)))
    assert.deepEqual(
      kept(middle),
      pairs.map(([low, high]) => (low % 2 === 0 ? low : high)),
    )
    assert.deepEqual(
      kept(below!),
      pairs.map(([low]) => low),
    )
    assert.deepEqual(
      kept(above!),
      pairs.map(([, high]) => high),
    )
  })

  it('keeps the largest where a value is larger, or is no number: all that is kept is finite', () => {
    const large = [65505, 65519.99, 65520, 65536, 3e38, Infinity]
    assert.deepEqual(kept(large), large.fill(LARGEST))
    assert.deepEqual(kept([-65520, -Infinity]), [LARGEST | 0x8000, LARGEST | 0x8000])
    assert.equal(kept([NaN])[0]! & 0x7fff, LARGEST)
  })
})

/** The float32 before or after a positive one. */
function nextFloat(value: number, step: number): number {
  const float = Float32Array.of(value)
  new Int32Array(float.buffer)[0]! += step
  return float[0]!
}
