// Reads an `.npy` file by the format's own description: what NumPy would make of it.

import assert from 'node:assert/strict'

export interface NpyArray {
  readonly shape: readonly number[]
  readonly values: Int16Array
}

export function readNpy(bytes: Buffer): NpyArray {
  assert.equal(bytes.subarray(0, 8).toString('latin1'), '\x93NUMPY\x01\x00', 'magic and version 1.0')
  const start = 10 + bytes.readUInt16LE(8)
  assert.equal(start % 64, 0, 'the values are aligned')
  const header = bytes.subarray(10, start).toString('latin1')
  const [, descr, order, sizes = ''] =
    /^\{'descr': '([^']+)', 'fortran_order': (\w+), 'shape': \(([\d, ]*)\), \} *\n$/.exec(header) ?? []
  assert.deepEqual([descr, order], ['<i2', 'False'], header)
  const shape = sizes.split(',').filter((size) => size.trim() !== '')
  const numValues = (bytes.length - start) / 2
  const values = Int16Array.from({ length: numValues }, (_, i) => bytes.readInt16LE(start + 2 * i))
  return { shape: shape.map(Number), values }
}
