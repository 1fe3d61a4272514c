// A file as items: lines, the elements of a JSON array, or JSON documents. Gzip is undone. Nothing is held but the item
// under way, which has a bound.

import { createReadStream } from 'node:fs'
import { open } from 'node:fs/promises'
import type { Readable } from 'node:stream'
import { StringDecoder } from 'node:string_decoder'
import { createGunzip } from 'node:zlib'
import { TraceError } from '../trace-error.js'
import type { Item } from './format.js'
import { chooseSplitter, ItemTooLong, type Splitter } from './splitters.js'

export const MAX_ITEM_CHARS = 128 * 1024 * 1024

const CHUNK_BYTES = 1 << 18
const GZIP = [0x1f, 0x8b]
const HEAD_BYTES = 8

/** What begins so is neither text nor gzip. */
const OTHERS: readonly (readonly [string, readonly number[]])[] = [
  ['zstd', [0x28, 0xb5, 0x2f, 0xfd]],
  ['xz', [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00]],
  ['bzip2', [0x42, 0x5a, 0x68]],
  ['zip', [0x50, 0x4b, 0x03, 0x04]],
  ['Parquet', [0x50, 0x41, 0x52, 0x31]],
  ['UTF-16', [0xff, 0xfe]],
  ['UTF-16', [0xfe, 0xff]],
]

/** Batches of a file's items, in order; blank lines are none. */
export async function* readItems(file: string, maxChars = MAX_ITEM_CHARS): AsyncGenerator<readonly Item[]> {
  try {
    yield* splitText(readText(file), maxChars)
  } catch (error) {
    if (error instanceof ItemTooLong)
      throw new TraceError('invalid_argument', `${file}:${error.line}: want at most ${maxChars} characters, found more`)
    const problem = error instanceof Error ? error.message : String(error)
    throw new TraceError('invalid_argument', `${file}: want a readable file, ${problem}`, { cause: error })
  }
}

async function* splitText(texts: AsyncIterable<string>, maxChars: number): AsyncGenerator<readonly Item[]> {
  let splitter: Splitter | undefined
  let beginning = ''
  for await (const text of texts) {
    if (splitter === undefined) {
      beginning += text
      splitter = chooseSplitter(beginning, false, maxChars)
      if (splitter !== undefined) yield splitter.push(beginning)
    } else yield splitter.push(text)
  }
  if (splitter === undefined) {
    splitter = chooseSplitter(beginning, true, maxChars)
    if (splitter !== undefined) yield splitter.push(beginning)
  }
  if (splitter !== undefined) yield splitter.end()
}

async function* readText(file: string): AsyncGenerator<string> {
  const decoder = new StringDecoder('utf8')
  let isFirst = true
  for await (const chunk of await openBytes(file)) {
    const text = decoder.write(Buffer.from(chunk))
    yield isFirst ? text.replace(/^\uFEFF/, '') : text
    isFirst = false
  }
}

async function openBytes(file: string): Promise<Readable> {
  const head = await readHead(file)
  const bytes = createReadStream(file, { highWaterMark: CHUNK_BYTES })
  if (!begins(head, GZIP)) return bytes
  const plain = createGunzip({ chunkSize: CHUNK_BYTES })
  bytes.on('error', (error) => plain.destroy(error))
  return bytes.pipe(plain).on('close', () => bytes.destroy())
}

/** What the file is, where it is neither text nor gzip. */
export async function foreignFormat(file: string): Promise<string | undefined> {
  const head = await readHead(file)
  return OTHERS.find(([, bytes]) => begins(head, bytes))?.[0]
}

const begins = (head: Buffer, bytes: readonly number[]): boolean => bytes.every((byte, i) => head[i] === byte)

async function readHead(file: string): Promise<Buffer> {
  const handle = await open(file)
  try {
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0)
    return buffer.subarray(0, bytesRead)
  } finally {
    await handle.close()
  }
}
