// Bad headers: one error each, that names the file and what is wrong in it, whatever the bytes.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ClusterError } from '../../../../lib/errors.js'
import { openGgufFile } from '../../../../lib/model/gguf/file.js'
import { readGgufHeader } from '../../../../lib/model/gguf/header.js'
import { ggufBytes, type GgufContent } from '../../../../lib/model/gguf/writer.js'
import { createRandom } from '../../../helpers/random.js'

const values = (count: number): Float32Array => Float32Array.from({ length: count }, (_, i) => i / 8)

const CONTENT: GgufContent = {
  metadata: [
    ['general.architecture', { type: 'string', value: 'llama' }],
    ['general.alignment', { type: 'uint32', value: 32 }],
    ['general.quantised', { type: 'uint32', value: 32 }], // as long as the key before
    ['llama.rope.freq_base', { type: 'float32', value: 10_000 }],
    ['tokenizer.ggml.tokens', { type: 'strings', value: ['a', 'é', '', '<|end|>', '\ufeff', '\ufeffb'] }],
  ],
  tensors: [
    { name: 'one', dims: [64, 2], format: 'Q8_0', pieces: () => [values(128)] },
    { name: 'two', dims: [3], format: 'F32', pieces: () => [values(3)] },
    { name: 'three', dims: [32, 2, 2], format: 'Q4_0', pieces: () => [values(128)] },
  ],
}
const valid = Buffer.concat([...ggufBytes(CONTENT)])

describe('readGgufHeader', () => {
  let folder: string
  before(() => (folder = mkdtempSync(join(tmpdir(), 'banyan-gguf-'))))
  after(() => rmSync(folder, { recursive: true }))

  const write = (bytes: Uint8Array): string => {
    const path = join(folder, 'model.gguf')
    writeFileSync(path, bytes)
    return path
  }

  it('reads metadata, and rows and blocks of tensors', async () => {
    const header = await readGgufHeader(write(valid))
    assert.equal(header.fields.number('llama.rope.freq_base'), 10_000)
    assert.deepEqual(header.fields.texts('tokenizer.ggml.tokens'), ['a', 'é', '', '<|end|>', '\ufeff', '\ufeffb'])
    const file = openGgufFile(header)
    const [one, two, three] = ['one', 'two', 'three'].map((name) => file.tensors.get(name) ?? assert.fail(name))
    assert.deepEqual([one?.shape, two?.shape, three?.shape], [[2, 64], [3], [2, 2, 32]])
    assert.deepEqual(two?.readRows(0, 1), values(3))
    assert.deepEqual(one?.readRows(1, 1), one?.readRows(0, 2).subarray(64))
    const blocks = three?.readBlocks?.(2, 2)
    assert.deepEqual([blocks?.bits, blocks?.data.length, blocks?.scales.length], [4, 32, 2])
    assert.throws(() => one?.readRows(1, 2), /model\.gguf: tensor one: want rows 1 … 2, got 2 rows/)
    file.close()
  })

  /** The bytes after the first appearance of a text. */
  const endOf = (text: string): number => valid.indexOf(text) + text.length
  const patched = (change: (bytes: Buffer) => void): Buffer => {
    const bytes = Buffer.from(valid)
    change(bytes)
    return bytes
  }
  // After a name: number of dimensions (4), each of them (8), the format (4), the offset (8).
  const bad: Readonly<Record<string, readonly [change: (bytes: Buffer) => unknown, error: RegExp]>> = {
    'a wrong magic': [(bytes) => bytes.write('GGML'), /magic: want "GGUF", got "GGML"/],
    'a wrong version': [(bytes) => bytes.writeUInt32LE(1, 4), /version: want 2 or 3, got 1/],
    'the other byte order': [(bytes) => bytes.writeUInt32BE(3, 4), /version: want 2 or 3, got a big-endian file/],
    'too many tensors': [(bytes) => bytes.writeBigUInt64LE(1n << 62n, 8), /tensor count: want at most \d+ .*got 4611/],
    'too few tensors': [
      (bytes) => bytes.writeBigUInt64LE(2n, 8),
      /tensor count: want tensors up to byte \d+, the file's end, got 2 up to \d+/,
    ],
    'one tensor more than there is': [
      (bytes) => bytes.writeBigUInt64LE(4n, 8),
      /header: cannot be read as the \d+ metadata values and 4 tensors that it counts: /,
    ],
    'one key more than there is': [
      (bytes) => bytes.writeBigUInt64LE(bytes.readBigUInt64LE(16) + 1n, 16),
      /header: cannot be read as the \d+ metadata values and 3 tensors that it counts: /,
    ],
    'a hole between tensors': [
      (bytes) => bytes.writeBigUInt64LE(32n, endOf('one') + 4),
      /tensor two: want an offset from byte \d+, where one ends, got \d+/,
    ],
    'too many keys': [
      (bytes) => bytes.writeBigUInt64LE(1000n, 16),
      /metadata count: want at most \d+ in \d+ bytes, got 1000/,
    ],
    'an alignment that is no power of two': [
      (bytes) => bytes.writeUInt32LE(48, endOf('general.alignment') + 4),
      /general\.alignment: want a power of two, got 48/,
    ],
    'no alignment': [(bytes) => bytes.writeUInt32LE(0, endOf('general.alignment') + 4), /general\.alignment.*got 0/],
    'a value of no type': [(bytes) => bytes.writeUInt32LE(77, endOf('freq_base')), /header: .*77/],
    'a text longer than the file': [(bytes) => bytes.writeBigUInt64LE(1n << 20n, endOf('architecture') + 4), /header/],
    'a list longer than the file': [(bytes) => bytes.writeBigUInt64LE(900_000n, endOf('ggml.tokens') + 8), /header/],
    'an unknown format': [
      (bytes) => bytes.writeUInt32LE(99, endOf('one') + 20),
      /tensor one: format: want one of F32.*type 99/,
    ],
    'a format that is not read': [
      (bytes) => bytes.writeUInt32LE(10, endOf('one') + 20),
      /tensor one: format: .*got Q2_K/,
    ],
    'five dimensions': [(bytes) => bytes.writeUInt32LE(5, endOf('two')), /./],
    'a dimension of 0': [
      (bytes) => bytes.writeBigUInt64LE(0n, endOf('two') + 4),
      /tensor two: want dimensions of at least 1/,
    ],
    'rows of no whole blocks': [
      (bytes) => bytes.writeBigUInt64LE(48n, endOf('one') + 4),
      /tensor one: want rows of whole Q8_0 blocks of 32, got 48 values/,
    ],
    'a huge dimension': [(bytes) => bytes.writeBigUInt64LE(1n << 40n, endOf('two') + 4), /two/],
    'an offset that is not aligned': [
      (bytes) => bytes.writeBigUInt64LE(8n, endOf('two') + 16),
      /tensor two: offset: want a multiple of 32, got 8/,
    ],
    'an offset beyond the file': [
      (bytes) => bytes.writeBigUInt64LE(1n << 20n, endOf('two') + 16),
      /tensor two: want 12 bytes from \d+, got a file of \d+/,
    ],
    'an offset of all bits': [
      (bytes) => bytes.writeBigUInt64LE((1n << 64n) - 32n, endOf('two') + 16),
      /tensor two: want 12 bytes/,
    ],
    'overlapping tensors': [
      (bytes) => bytes.writeBigUInt64LE(0n, endOf('two') + 16),
      /tensor one: want an offset from byte \d+, where two ends, got \d+/,
    ],
    'a name that stands twice': [
      (bytes) => bytes.write('one', valid.indexOf('two')),
      /tensor one: stands in the header twice/,
    ],
    'a key that stands twice': [
      (bytes) => bytes.write('general.alignment', valid.indexOf('general.quantised')),
      /metadata: want each key once/,
    ],
  }

  for (const [what, [change, error]] of Object.entries(bad)) {
    it(`refuses ${what}`, async () => {
      const path = write(patched(change))
      await assert.rejects(readGgufHeader(path), (thrown) => {
        assert.ok(thrown instanceof ClusterError && thrown.code === 'invalid_argument', String(thrown))
        assert.ok(thrown.message.startsWith(path), thrown.message)
        assert.match(thrown.message, error)
        return true
      })
    })
  }

  it('refuses a path without a file', async () => {
    await assert.rejects(readGgufHeader(join(folder, 'none.gguf')), { code: 'not_found' })
    await assert.rejects(readGgufHeader(folder), { code: 'invalid_argument' })
  })

  it('answers any bytes with a header whose tensors can be read, or with one typed error', async function () {
    this.timeout(30_000)
    const seed = 20_261_127
    const random = createRandom(seed)
    const whole = (below: number): number => Math.floor(random() * below)
    const headerBytes = valid.indexOf('three') + 64
    for (let round = 0; round < 400; round++) {
      const bytes = Buffer.from(valid.subarray(0, round % 4 === 0 ? whole(valid.length) : valid.length))
      for (let flips = whole(4); flips >= 0 && bytes.length > 0; flips--)
        bytes[whole(Math.min(headerBytes, bytes.length))] = whole(256)
      try {
        const file = openGgufFile(await readGgufHeader(write(bytes)))
        for (const tensor of file.tensors.values()) tensor.readRows(0, 1)
        file.close()
      } catch (error) {
        assert.ok(
          error instanceof ClusterError && error.code === 'invalid_argument',
          `seed ${seed}, round ${round}: ${String(error)}`,
        )
      }
    }
  })
})
