// NumPy's file format, version 1.0, for arrays of int16: little-endian, rows one after the other (C order).

const MAGIC = '\x93NUMPY\x01\x00'
const ALIGNMENT = 64 // of where the values begin
const LENGTH_BYTES = 2 // of the header, before it

/** The values as an `.npy` file; the product of `shape` is their number. */
export function encodeNpy(values: Int16Array, shape: readonly number[]): Buffer {
  const sizes = shape.length === 1 ? `${shape[0]},` : shape.join(', ')
  const header = `{'descr': '<i2', 'fortran_order': False, 'shape': (${sizes}), }`
  const begun = MAGIC.length + LENGTH_BYTES + header.length + 1
  const padded = `${header}${' '.repeat((ALIGNMENT - (begun % ALIGNMENT)) % ALIGNMENT)}\n`
  const length = Buffer.alloc(LENGTH_BYTES)
  length.writeUInt16LE(padded.length)
  const bytes = Buffer.from(values.buffer, values.byteOffset, values.byteLength)
  return Buffer.concat([Buffer.from(MAGIC, 'latin1'), length, Buffer.from(padded, 'latin1'), bytes])
}
