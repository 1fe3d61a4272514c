// One reading thread of the memory measurement, and the readers it knows. Runs as a worker thread of memory.ts.

import { parentPort, workerData } from 'node:worker_threads'
import { preferHugePages } from '../../lib/compute/machine-code/executable.js'

export const READERS = ['float64 loop', 'byte search', 'compare'] as const
export type ReaderName = (typeof READERS)[number]

export interface ReadOrder {
  readonly reader: ReaderName
  readonly bytes: number
  readonly gate: Int32Array // shared; pass p starts when it is p + 1
  readonly repetitions: number
}

export interface ReadReport {
  readonly bytes: number
  readonly startedNs: number // the process's monotonic clock, the same for all threads
  readonly endedNs: number
}

/** Reads `memory` once from end to end; the result only keeps the engine from leaving the work out. */
const READ: Readonly<Record<ReaderName, (memory: Buffer) => number>> = {
  'float64 loop': (memory) => sum(new Float64Array(memory.buffer, memory.byteOffset, memory.length / 8)),
  'byte search': (memory) => memory.indexOf(1), // libc's memchr: the byte is nowhere in it
  compare: (memory) => memory.compare(memory, memory.length / 2, memory.length, 0, memory.length / 2), // libc's memcmp
}

/** Eight independent sums, so that the additions do not wait for one another. */
function sum(values: Float64Array): number {
  let [a, b, c, d, e, f, g, h] = [0, 0, 0, 0, 0, 0, 0, 0]
  for (let i = 0; i < values.length; i += 8) {
    a += values[i]!
    b += values[i + 1]!
    c += values[i + 2]!
    d += values[i + 3]!
    e += values[i + 4]!
    f += values[i + 5]!
    g += values[i + 6]!
    h += values[i + 7]!
  }
  return a + b + c + d + e + f + g + h
}

const WASM_PAGE = 65536

/**
 * In large pages where the system has them, as the engine's weights are: with small ones the look-up of addresses is what
 * is measured. Written once: zero pages that were never touched would all be the same page.
 */
function touchedMemory(bytes: number): Buffer {
  const pages = Math.ceil(bytes / WASM_PAGE)
  const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }) // begins at a page's start
  preferHugePages(buffer, 0)
  return Buffer.from(buffer, 0, bytes).fill(2)
}

function serve(order: ReadOrder, post: (message: ReadReport | 'ready') => void): void {
  const memory = touchedMemory(order.bytes)
  for (let pass = 0; pass <= order.repetitions; pass++) {
    post('ready')
    Atomics.wait(order.gate, 0, pass)
    const startedNs = Number(process.hrtime.bigint())
    READ[order.reader](memory)
    post({ bytes: memory.length, startedNs, endedNs: Number(process.hrtime.bigint()) })
  }
}

const port = parentPort
if (port !== null) serve(workerData as ReadOrder, (message) => port.postMessage(message)) // memory.ts starts it so
