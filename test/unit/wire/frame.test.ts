import { decode as independentDecode } from '@msgpack/msgpack'
import assert from 'node:assert/strict'
import { ClusterError } from '../../../lib/errors.js'
import { decodeFrame, decodeHeard, encodeFrame, type Frame } from '../../../lib/wire/frame.js'
import { packF32, packI32, readF32, readI32 } from '../../../lib/wire/tensor.js'

const speaks = { lowest: 1, highest: 2 }
const envelope = { id: 'a-1', from: 'attention-0', timeoutMs: 60_000, epoch: 3, traceparent: undefined }

const compute: Frame = {
  version: 1,
  speaks,
  envelope,
  message: {
    kind: 'expert.compute',
    step: 's1',
    layer: 2,
    hidden: packF32(Float32Array.of(1, -2, 3, 0.5), [2, 2]),
    experts: packI32([1]),
    counts: packI32([2]),
    rows: packI32([0, 1]),
    weights: packF32(Float32Array.of(0.25, 0.75)),
  },
}

const isRefused = (error: unknown): boolean => error instanceof ClusterError && error.code === 'invalid_argument'

describe('frames', () => {
  it('come back as they were sent', () => {
    const { envelope: readEnvelope, message } = decodeFrame(encodeFrame(compute))
    assert.deepEqual(readEnvelope, envelope)
    assert.ok(message.kind === 'expert.compute')
    assert.deepEqual([...readF32(message.hidden, 'hidden')], [1, -2, 3, 0.5])
    assert.deepEqual([...readI32(message.rows, 'rows')], [0, 1])
  })

  it('that several hear are read once, and by nobody who does not read their version', () => {
    const bytes = encodeFrame(compute)
    const first = decodeHeard(bytes)
    assert.deepEqual(first, decodeFrame(bytes))
    assert.equal(decodeHeard(bytes), first)
    assert.throws(() => decodeHeard(bytes, { lowest: 2, highest: 2 }), isRefused)
    assert.notEqual(decodeHeard(Uint8Array.from(bytes)), first, 'other bytes')
  })

  it('carry a trace context where there is one', () => {
    const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    const bytes = encodeFrame({ ...compute, envelope: { ...envelope, traceparent } })
    assert.equal(decodeFrame(bytes).envelope.traceparent, traceparent)
  })

  it('are read by an independent msgpack decoder', () => {
    const raw = independentDecode(encodeFrame(compute)) as {
      v: number
      k: string
      b: { hidden: { dtype: string; data: Uint8Array } }
    }
    assert.deepEqual([raw.v, raw.k, raw.b.hidden.dtype], [1, 'expert.compute', 'f32'])
    const { data } = raw.b.hidden
    assert.equal(new DataView(data.buffer, data.byteOffset, data.byteLength).getFloat32(4, true), -2)
  })

  it('of a version are read as its first processes sent them: later fields are optional', () => {
    const body = { step: 's1', entries: [], expertCalls: 4, computeMs: 3.5, expertWaitMs: 2 }
    const { message } = decodeFrame(encodeFrame({ ...compute, message: { kind: 'attention.sampled', ...body } }))
    assert.deepEqual(message, { kind: 'attention.sampled', ...body })
  })

  // The protocol's bytes: a change here is a change of the protocol and takes a new version.
  it('have the bytes that the protocol page shows', () => {
    const bytes = encodeFrame({
      version: 1,
      speaks: { lowest: 1, highest: 1 },
      envelope: { id: 'r-1', from: 'router-0', timeoutMs: 0, epoch: 0, traceparent: undefined },
      message: { kind: 'expert.cancel', step: 's1' },
    })
    const golden =
      '87a17601a16bad6578706572742e63616e63656ca26964a3722d31a466726f6da8726f757465722d30a2646c00a2657000a16281a473746570a27331'
    assert.equal(Buffer.from(bytes).toString('hex'), golden)
  })

  it('with an unknown kind or a wrong field are refused with the place', () => {
    const frame = { ...compute, message: { ...compute.message, layer: -1 } }
    assert.throws(
      () => decodeFrame(encodeFrame(frame)),
      (error) => isRefused(error) && /expert\.compute: layer/.test(String(error)),
    )
  })
})

describe('tensors', () => {
  it('whose bytes do not fit their shape are refused', () => {
    assert.throws(
      () => readF32({ dtype: 'f32', shape: [3], data: new Uint8Array(8) }, 'x'),
      /x: shape \[3\] wants 12 bytes, got 8/,
    )
  })

  it('of another dtype are refused', () => {
    assert.throws(() => readF32(packI32([1]), 'x'), /x: want dtype f32, got i32/)
  })

  it('at an odd address are read through a copy', () => {
    const bytes = new Uint8Array(9)
    new DataView(bytes.buffer).setFloat32(1, 2.5, true)
    assert.equal(readF32({ dtype: 'f32', shape: [2], data: bytes.subarray(1) }, 'x')[0], 2.5)
  })
})
