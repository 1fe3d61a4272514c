// How fast this machine reads memory, with one thread and with two. Several readers, because a plain JavaScript loop may
// be bound by its own instructions.
//
// Invariants
//   M1  Each thread reads a buffer of its own, larger than the caches, whose pages were all written before.
//   M2  The clock runs from the moment all threads are let go to the end of the last one.

import { on } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { Summary } from '../statistics.js'
import { summarise } from '../statistics.js'
import { READERS, type ReaderName, type ReadOrder, type ReadReport } from './readers.js'

export interface Bandwidth {
  readonly reader: ReaderName
  readonly threads: number
  readonly gigabytesPerSecond: Summary // 1e9 bytes read in a second, all threads
}

export interface MemoryOptions {
  readonly bytesPerThread: number
  readonly threadCounts: readonly number[]
  readonly repetitions: number
}

/** Every reader with every number of threads; a warm-up pass before each is not counted. */
export async function measureMemory(options: MemoryOptions): Promise<Bandwidth[]> {
  const results: Bandwidth[] = []
  for (const threads of options.threadCounts) {
    for (const reader of READERS) results.push(await measureReader(reader, threads, options))
  }
  return results
}

async function measureReader(reader: ReaderName, threads: number, options: MemoryOptions): Promise<Bandwidth> {
  const gate = new Int32Array(new SharedArrayBuffer(4))
  const order: ReadOrder = { reader, bytes: options.bytesPerThread, gate, repetitions: options.repetitions }
  const workers = Array.from(
    { length: threads },
    () => new Worker(new URL('./readers.js', import.meta.url), { workerData: order }),
  )
  const inboxes = workers.map((worker) => on(worker, 'message')) // keeps what arrives before it is asked for
  try {
    const rates: number[] = []
    for (let pass = 0; pass <= options.repetitions; pass++) {
      const reports = await readOnce(inboxes, gate, pass)
      if (pass > 0) rates.push(rate(reports))
    }
    return { reader, threads, gigabytesPerSecond: summarise(rates) }
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()))
  }
}

type Inbox = AsyncIterator<readonly unknown[]>

/** Waits until every thread stands at the gate, opens it, and collects what each has read and when. */
async function readOnce(inboxes: readonly Inbox[], gate: Int32Array, pass: number): Promise<ReadReport[]> {
  await Promise.all(inboxes.map((inbox) => inbox.next()))
  Atomics.store(gate, 0, pass + 1)
  Atomics.notify(gate, 0)
  return Promise.all(
    inboxes.map(async (inbox) => {
      const { value } = (await inbox.next()) as { value: [ReadReport] } // readers.ts alternates: ready, report
      return value[0]
    }),
  )
}

function rate(reports: readonly ReadReport[]): number {
  const bytes = reports.reduce((sum, report) => sum + report.bytes, 0)
  const started = Math.min(...reports.map((report) => report.startedNs))
  const ended = Math.max(...reports.map((report) => report.endedNs))
  return bytes / (ended - started)
}
