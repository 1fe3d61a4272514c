// The tensors of a GGUF file under the names that it has for them.
//
// Invariants
//   GF1  The file is never held in memory: rows are read when they are asked for, and nothing outside their tensor.

import { closeSync } from 'node:fs'
import { ClusterError } from '../../errors.js'
import { openFile } from '../open-file.js'
import { readExactly, readInto } from '../safetensors.js'
import { sizeOf, type StoredTensor, type TensorFile } from '../stored-tensor.js'
import { decodeBlocks, integerBlocks, isIntegerFormat } from './blocks.js'
import { encodedBytes } from './formats.js'
import type { GgufHeader, GgufTensorInfo } from './header.js'

/** Opens the file of a checked header. */
export function openGgufFile({ path, tensors, numBytes, sizeBytes }: GgufHeader): TensorFile {
  const fd = openFile(path)
  const readBytes = (offset: number, length: number): Uint8Array<ArrayBuffer> =>
    readExactly(fd, path, offset, Math.min(length, sizeBytes - offset))
  return {
    path,
    tensors: new Map([...tensors].map(([name, info]) => [name, storedTensor(path, info, readBytes)])),
    header: readBytes(0, numBytes),
    sizeBytes,
    readInto: (bytes, offset) => readInto(bytes, fd, path, offset),
    close: () => closeSync(fd),
  }
}

type ReadBytes = (offset: number, length: number) => Uint8Array<ArrayBuffer>

function storedTensor(
  path: string,
  { name, format, shape, begin, end }: GgufTensorInfo,
  read: ReadBytes,
): StoredTensor {
  const width = shape.at(-1) ?? 1
  const numRows = sizeOf(shape) / width
  const rowBytes = encodedBytes(format, width)
  const readRows = (first: number, count: number): Uint8Array<ArrayBuffer> => {
    if (first < 0 || count < 0 || first + count > numRows) {
      throw new ClusterError(
        'invalid_argument',
        `${path}: tensor ${name}: want rows ${first} … ${first + count - 1}, got ${numRows} rows`,
      )
    }
    return read(begin + first * rowBytes, count * rowBytes)
  }
  return {
    name,
    file: path,
    dtype: format,
    shape,
    numBytes: end - begin,
    readRows: (first, count, into) => decodeBlocks(format, readRows(first, count), into),
    ...(isIntegerFormat(format)
      ? {
          blockBits: format === 'Q4_0' ? (4 as const) : (8 as const),
          readBlocks: (first: number, count: number) => integerBlocks(format, readRows(first, count)),
        }
      : {}),
  }
}
