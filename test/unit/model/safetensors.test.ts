import assert from 'node:assert/strict'
import fc from 'fast-check'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ClusterError } from '../../../lib/errors.js'
import { openSafetensors, writeSafetensors } from '../../../lib/model/safetensors.js'

/** Bytes of a file with this header and data. */
function fileOf(header: unknown, data: Uint8Array): Buffer {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  return Buffer.concat([length, text, data])
}

describe('safetensors', () => {
  let folder: string
  let path: string
  before(() => {
    folder = mkdtempSync(join(tmpdir(), 'banyan-test-'))
    path = join(folder, 'x.safetensors')
  })
  after(() => rmSync(folder, { recursive: true }))

  const write = (bytes: Uint8Array): void => writeFileSync(path, bytes)
  const refuses = (header: unknown, data: Uint8Array, message: RegExp): void => {
    write(fileOf(header, data))
    assert.throws(
      () => openSafetensors(path),
      (error) =>
        error instanceof ClusterError &&
        error.code === 'invalid_argument' &&
        error.message.includes(path) &&
        message.test(error.message),
    )
  }

  it('come back as they were written', () => {
    fc.assert(
      fc.property(fc.array(fc.float32Array({ maxLength: 12 }), { maxLength: 4 }), (arrays) => {
        writeSafetensors(path, Object.fromEntries(arrays.map((data, i) => [`t${i}`, { data, shape: [data.length] }])))
        const file = openSafetensors(path)
        for (const [i, data] of arrays.entries()) assert.deepEqual(file.readFloat32(`t${i}`), data)
        file.close()
      }),
      { numRuns: 50 },
    )
  })

  it('widen BF16 and F16 exactly', () => {
    const bf16 = Uint16Array.of(0x3f80, 0xc000, 0x7f80)
    const f16 = Uint16Array.of(0x3c00, 0x0001, 0x8001, 0x7bff, 0xfc00, 0x0200)
    const data = Buffer.concat([Buffer.from(bf16.buffer), Buffer.from(f16.buffer)])
    write(
      fileOf(
        {
          b: { dtype: 'BF16', shape: [3], data_offsets: [0, 6] },
          h: { dtype: 'F16', shape: [6], data_offsets: [6, 18] },
        },
        data,
      ),
    )
    const file = openSafetensors(path)
    assert.deepEqual([...file.readFloat32('b')], [1, -2, Infinity])
    assert.deepEqual([...file.readFloat32('h')], [1, 2 ** -24, -(2 ** -24), 65504, -Infinity, 2 ** -15])
    file.close()
  })

  it('read rows, and no row outside', () => {
    writeSafetensors(path, { m: { data: Float32Array.of(1, 2, 3, 4, 5, 6), shape: [3, 2] } })
    const file = openSafetensors(path)
    const tensor = file.tensors.get('m') ?? assert.fail()
    assert.deepEqual([...tensor.readRows(1, 2)], [3, 4, 5, 6])
    assert.throws(() => tensor.readRows(2, 2), /tensor m: want rows 2 … 3, got 3 rows/)
    file.close()
  })

  const f32 = (begin: number, end: number, shape = [(end - begin) / 4]): unknown => ({
    dtype: 'F32',
    shape,
    data_offsets: [begin, end],
  })
  const bytes = new Uint8Array(16)

  it('with a header longer than the file are refused', () => {
    const file = fileOf({}, bytes)
    file.writeBigUInt64LE(1_000_000n)
    write(file)
    assert.throws(() => openSafetensors(path), /header of 1000000 bytes/)
  })

  it('with a header that is no JSON are refused', () => refuses('{"a":', bytes, /not JSON/))
  it('with overlapping tensors are refused by name', () =>
    refuses({ a: f32(0, 8), b: f32(4, 12) }, bytes, /tensors a and b overlap/))
  it('with offsets outside the file are refused', () =>
    refuses({ a: f32(0, 32) }, bytes, /tensor a: bytes 0 … 32 of 16/))
  it('with a shape that does not fit are refused', () =>
    refuses({ a: f32(0, 16, [3]) }, bytes, /tensor a: F32 \[3\] wants 12 bytes, got 16/))
  it('with an unknown dtype are refused', () =>
    refuses({ a: { dtype: 'Q3', shape: [1], data_offsets: [0, 4] } }, bytes, /unknown dtype Q3/))

  const survives = (): void => {
    try {
      const file = openSafetensors(path)
      for (const [name, { dtype }] of file.tensors) if (['F32', 'F16', 'BF16'].includes(dtype)) file.readFloat32(name)
      file.close()
    } catch (error) {
      assert.ok(error instanceof ClusterError, String(error))
    }
  }

  it('of random bytes never crash the reader', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 120 }), (random) => {
        write(random)
        survives()
      }),
      { numRuns: 300 },
    )
  })

  it('with random mutations never crash the reader', () => {
    writeSafetensors(path, {
      a: { data: Float32Array.of(1, 2), shape: [2] },
      b: { data: Float32Array.of(3), shape: [1, 1] },
    })
    const valid = readFileSync(path)
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat(valid.length - 1), fc.nat(255)), { minLength: 1, maxLength: 5 }),
        (changes) => {
          const copy = Buffer.from(valid)
          for (const [at, value] of changes) copy[at] = value
          write(copy)
          survives()
        },
      ),
      { numRuns: 500 },
    )
  })
})
