// A frame's bytes stay what they are while others are packed, by whomever; only what is given back is used again.

import assert from 'node:assert/strict'
import { Packr, unpack } from 'msgpackr'
import { giveBack, pack, packOften } from '../../../lib/wire/frame-buffers.js'
import { createRandom } from '../../helpers/random.js'

describe('bytes of frames', () => {
  const rows = (size: number, value: number): Uint8Array => new Uint8Array(size).fill(value)

  it('stay, whatever is packed next, here or by another packer of the process', () => {
    const seed = Number(process.env['SEED'] ?? Date.now() % 1e6)
    console.log(`seed ${seed}`)
    const random = createRandom(seed)
    const journal = new Packr({ useRecords: false })
    const held: { readonly bytes: Uint8Array; readonly size: number; readonly value: number }[] = []
    for (let i = 0; i < 3_000; i++) {
      const [value, isLarge] = [i % 256, random() < 0.4]
      const size = Math.floor(random() * (isLarge ? 300_000 : 600))
      const content = ['frame', size, rows(size, value)]
      const bytes = isLarge ? packOften(content) : random() < 0.5 ? pack(content) : journal.pack(content)
      held.push({ bytes, size, value })
      if (isLarge && random() < 0.7) giveBack(held.pop()!.bytes)
      if (held.length > 40) check(held.splice(Math.floor(random() * held.length), 1)[0]!)
    }
    held.forEach(check)
  })

  function check({ bytes, size, value }: { bytes: Uint8Array; size: number; value: number }): void {
    const [name, length, data] = unpack(bytes) as [string, number, Uint8Array]
    assert.deepEqual([name, length, data.length], ['frame', size, size])
    assert.ok(data.every((byte) => byte === value))
  }

  it('are used again once they are given back, and not before', () => {
    const first = packOften(rows(1000, 1))
    const second = packOften(rows(1000, 2))
    assert.notEqual(first.buffer, second.buffer)
    giveBack(second)
    assert.equal(packOften(rows(1000, 3)).buffer, second.buffer)
    assert.equal(first[first.length - 1], 1)
  })

  it('that others packed are nobody’s to give back', () => {
    const small = pack(rows(100, 1))
    giveBack(small)
    giveBack(small)
    assert.notEqual(packOften(rows(100, 2)).buffer, small.buffer)
    assert.equal(small[small.length - 1], 1)
  })
})
