// What a fingerprint is taken over: all of a small file, samples of a large one.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { fingerprintOf } from '../../../lib/model/content-hash.js'
import type { TensorFile } from '../../../lib/model/stored-tensor.js'

const MEGABYTE = 2 ** 20

/** A file whose bytes count up; the one at `changed` is another. */
function counting(sizeBytes: number, changed?: number): TensorFile {
  const byteAt = (offset: number): number => (offset === changed ? 1 : 0) + (offset % 251)
  return {
    path: 'counting',
    header: 'header',
    sizeBytes,
    tensors: new Map(),
    readInto: (bytes, offset) => {
      assert.ok(offset >= 0 && offset + bytes.length <= sizeBytes, 'nothing outside of the file is read')
      for (let i = 0; i < bytes.length; i++) bytes[i] = byteAt(offset + i)
    },
    close: () => undefined,
  }
}

const printOf = (...files: TensorFile[]): string => fingerprintOf({ configText: 'text', files })

describe('the fingerprint', () => {
  for (const sizeBytes of [0, 1, MEGABYTE / 4 - 1, MEGABYTE / 4, MEGABYTE / 4 + 1, MEGABYTE]) {
    it(`of a file of ${sizeBytes} bytes is that of the whole`, () => {
      const whole = new Uint8Array(sizeBytes)
      counting(sizeBytes).readInto(whole, 0)
      const hash = createHash('sha256').update('text').update('header').update(String(sizeBytes)).update(whole)
      assert.equal(printOf(counting(sizeBytes)), hash.digest('hex').slice(0, 16))
    })
  }

  it('of a large file tells a change of its first and last bytes, and reads samples alone', () => {
    const sizeBytes = 1e12
    const print = printOf(counting(sizeBytes))
    assert.notEqual(printOf(counting(sizeBytes, 0)), print)
    assert.notEqual(printOf(counting(sizeBytes, sizeBytes - 1)), print)
    assert.equal(printOf(counting(sizeBytes, 8192)), print)
  })
})
