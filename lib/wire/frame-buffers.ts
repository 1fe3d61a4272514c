// The bytes that frames are packed into. Frames with rows of a step are large and many: a fresh buffer for each keeps the
// collector busy, a quarter of an expert worker's time. So theirs are used again, once a transport has sent them.
//
// Invariants
//   FB1  A buffer that is used again holds one frame, and no other until whoever has it gives it back.

import { Packr } from 'msgpackr'

const FIRST_BYTES = 2 ** 16
const MOST_BYTES = 2 ** 22 // larger ones are rare, and nobody's to keep
const LEAST_REST_BYTES = 2 ** 12

const packr = new Packr({ useRecords: false, variableMapSize: true })

let spare: Buffer | undefined
const lent = new WeakSet<ArrayBufferLike>()

/** Bytes of a frame, the caller's own. */
export const pack = (value: unknown): Uint8Array => packr.pack(value)

/** Bytes of a large frame of which there will be many: the caller's own until they are given back, if ever. */
export function packOften(value: unknown): Uint8Array {
  const rest = restOfBuffer()
  packr.useBuffer(spare ?? Buffer.allocUnsafeSlow(FIRST_BYTES))
  spare = undefined
  try {
    const bytes = packr.pack(value)
    lent.add(bytes.buffer)
    return bytes
  } finally {
    packr.useBuffer(rest) // what is packed next must not be written behind this frame
  }
}

/** They were sent, and are read no more. */
export function giveBack({ buffer }: Uint8Array): void {
  if (lent.delete(buffer) && buffer.byteLength <= MOST_BYTES) spare = Buffer.from(buffer as ArrayBuffer) // made here
}

/** All packers of the process write to one buffer: what is left of it behind whatever was packed last, by whomever. */
function restOfBuffer(): Buffer {
  const { buffer, byteOffset } = packr.pack(null)
  const left = buffer.byteLength - byteOffset
  return left < LEAST_REST_BYTES
    ? Buffer.allocUnsafeSlow(2 * LEAST_REST_BYTES)
    : Buffer.from(buffer as ArrayBuffer, byteOffset) // msgpackr's own
}
