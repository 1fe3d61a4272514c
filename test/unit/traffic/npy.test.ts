import assert from 'node:assert/strict'
import { encodeNpy } from '../../../lib/traffic/npy.js'
import { readNpy } from '../../helpers/read-npy.js'

describe('encodeNpy', () => {
  for (const shape of [[2, 3, 2], [5], [1], [1234567, 0, 8], [0]]) {
    it(`writes an array of shape [${shape.join(', ')}] that reads as it was`, () => {
      const size = shape.reduce((product, length) => product * length, 1)
      const values = Int16Array.from({ length: size }, (_, i) => (i % 2 === 0 ? i : -i))
      assert.deepEqual(readNpy(encodeNpy(values, shape)), { shape, values })
    })
  }

  it('writes the values of a view, and of a tuple of one size with its comma', () => {
    const file = encodeNpy(new Int16Array([9, 1, -32768, 32767, 9]).subarray(1, 4), [3])
    assert.ok(file.toString('latin1').includes("'shape': (3,), }"))
    assert.deepEqual([...readNpy(file).values], [1, -32768, 32767])
  })
})
