// The CPU engine: our own SIMD kernels (`kernels/`, WebAssembly) over one shared memory, and threads that help. A run is
// phases with barriers between; the tasks of a phase do not depend on each other, and a phase begins when the one before
// is done. Helpers begin with the first phase while the caller still writes the later ones.
//
// Invariants
//   K1  A result is a function of the task's operands: WebAssembly's arithmetic is the same on every processor, machine
//       code does the same operations in the same order, and which thread computes a task decides nothing.
//   K2  A run ends within its deadline or throws `internal`; helpers sleep between runs and never keep a process alive.

import { Worker } from 'node:worker_threads'
import { ClusterError } from '../errors.js'
import { builtFile } from '../package-files.js'
import { kernelModule } from '../packing/kernel-module.js'
import { createArena } from './arena.js'
import { createRoom, type Room } from './room.js'
import { createTaskRing, RING_END } from './task-ring.js'
import { createCrowding, type ThreadTimes } from './crowding.js'
import { ACTIVE_WORD, instantiate, NUMBER_WORD, type KernelThreadData } from './kernel-instance.js'
import { openThreadClocks, threadNumber, type ThreadClocks } from './thread-times.js'
import { preferHugePages } from './machine-code/executable.js'
import { vectorUnit, writeWideKernels, type WideKernels } from './machine-code/wide-kernels.js'
import type { VectorUnit } from './machine-code/code-frame.js'

/** Writes a task into the phase: its operation, then up to 14 integers as the classes in `kernels/` name them. */
export type WriteTask = (
  op: number,
  ...operands: [
    a?: number,
    b?: number,
    c?: number,
    d?: number,
    e?: number,
    f?: number,
    g?: number,
    h?: number,
    i?: number,
    j?: number,
    k?: number,
    l?: number,
    m?: number,
    n?: number,
  ]
) => void

export interface Kernels {
  readonly threads: number
  readonly usedBytes: number
  readonly freeBytes: number // taken once and given back
  allocate(numBytes: number): number
  release(address: number): void
  /** Room for who computes without waiting for anything: it is theirs until somebody else computes. */
  readonly scratch: Room
  bytes(address: number, length: number): Uint8Array
  floats(address: number, length: number): Float32Array
  ints(address: number, length: number): Int32Array
  /** Gives every thread at least that many bytes of scratch for the runs to come. */
  reserveThreadScratch(numBytes: number): void
  /** Computes the tasks that `write` writes, with `task` and `barrier`; how many there were. */
  run(write: () => void): number
  readonly task: WriteTask
  /** Ends a phase: what follows begins when it is done. */
  barrier(): void
  /** Ends the helpers. */
  dispose(): Promise<void>
}

export const OP = {
  linearFloat: 1,
  linearInt8: 2,
  linearInt4: 3,
  quantise: 4,
  gated: 5,
  norm: 6,
  rotate: 7,
  attend: 8,
  sum: 9,
  keepLatents: 10,
  prepareQueries: 11,
  linearInt8Groups: 12,
  linearInt4Groups: 13,
  linearInt8Halves: 14,
  linearInt4Halves: 15,
  attendHalves: 16,
  linearFloat16: 17,
} as const

const float = new Float32Array(1)
const floatAsInt = new Int32Array(float.buffer)

/** A float32 as a number of a task. */
export function floatBits(value: number): number {
  float[0] = value
  return floatAsInt[0]!
}

const PAGE_BYTES = 65536
const GROWTH_BYTES = 2 ** 26 // much at a time, so that the system can use its large pages; untouched, it costs nothing
const MAX_PAGES = 65536 // 4 GB, what a 32-bit memory can be
const SCRATCH_WORD = 48
const SCRATCH_STRIDE_WORD = 49
const CACHE_LINE = 64
const DONE_WORD = 32
/** Looks of a thread that waits, before it sleeps: about 0.5 ms, or 50 µs where other processes want the core. */
const SPINS = { alone: 200_000, shared: 20_000 } as const
const NAP_MS = 2
const DEADLINE_MS = 60_000

/** Engines by threads and code: those of one process share memory and helpers. */
const engines = new Map<string, Kernels>()

export interface KernelOptions {
  /** Whether the process has the machine's cores to itself, or shares them with other workers. */
  readonly company?: keyof typeof SPINS
  /** Code written for the processor, where that can be; without it WebAssembly computes the same bits. */
  readonly machineCode?: boolean
  /** The vectors of that code: the widest, unless given. */
  readonly vectors?: VectorUnit | undefined
}

/**
 * This process's engine with that many threads. The first call decides about its company: a sleeping thread is often
 * woken on the waker's core and then delays it, so that one that is alone better stays awake between runs.
 */
export function sharedKernels(threads: number, options: KernelOptions = {}): Kernels {
  const key = `${threads} ${options.machineCode ?? true}`
  const engine = engines.get(key) ?? createKernels(threads, options)
  engines.set(key, engine)
  return engine
}

/** An engine of its own; `threads` counts the caller. */
export function createKernels(threads: number, options: KernelOptions = {}): Kernels {
  const { company = 'alone', machineCode = true } = options
  const spins = SPINS[company]
  const module = kernelModule()
  const memory = new WebAssembly.Memory({ initial: 16, maximum: MAX_PAGES, shared: true })
  const unit = machineCode ? (options.vectors ?? vectorUnit()) : undefined
  const wide: WideKernels = unit === undefined ? new Map() : writeWideKernels(unit, memory.buffer, OP)
  const { work, spinDone } = instantiate({ module, memory, thread: 0, wide })
  const words = new Int32Array(memory.buffer)
  words[ACTIVE_WORD] = threads - 1
  const helpers = Array.from({ length: threads - 1 }, (_, i) =>
    startHelper({ module, memory, spins, thread: i + 1, wide }),
  )
  let buffer = memory.buffer // asking for it costs more than keeping it; it changes when memory grows
  const arena = createArena(RING_END, (end) => {
    growTo(memory, end, machineCode)
    buffer = memory.buffer
  })
  const crowd = watchCrowd(words, helpers.length)
  const ring = createTaskRing(words, {
    isWide: (op) => wide.has(op),
    hasHelpers: helpers.length > 0,
    onFull: () => finish(),
  })

  /** Helps with the tasks that are written, and waits for the last one. */
  const finish = (): void => {
    ring.publish()
    work()
    if (helpers.length > 0 && !spinDone(spins)) awaitDone(words, () => spinDone(spins))
    ring.done()
    crowd.look()
  }

  const reserveThreadScratch = (numBytes: number): void => {
    if (numBytes <= words[SCRATCH_STRIDE_WORD]!) return
    finish() // tasks that are written may use the old one
    const stride = Math.ceil((numBytes * 1.25) / CACHE_LINE) * CACHE_LINE
    const old = words[SCRATCH_WORD]! >>> 0 // addresses from 2 GB on are negative as words
    words[SCRATCH_WORD] = arena.allocate(stride * threads) // first: where there is no room, the old one stays
    words[SCRATCH_STRIDE_WORD] = stride
    if (old !== 0) arena.release(old)
  }

  const run = (write: () => void): number => {
    const first = ring.numTasks
    try {
      write()
    } finally {
      finish() // also where it throws: its operands are somebody else's next
    }
    return ring.numTasks - first
  }

  return {
    threads,
    get usedBytes() {
      return arena.usedBytes
    },
    get freeBytes() {
      return arena.freeBytes
    },
    allocate: arena.allocate,
    release: arena.release,
    scratch: createRoom(arena),
    bytes: (address, length) => new Uint8Array(buffer, address, length),
    floats: (address, length) => new Float32Array(buffer, address, length),
    ints: (address, length) => new Int32Array(buffer, address, length),
    run,
    task: ring.task,
    barrier: ring.publish,
    reserveThreadScratch,
    dispose: async () => {
      crowd.close()
      await Promise.all(helpers.map((helper) => helper.terminate()))
    },
  }
}

/** Lets helpers rest where other processes want the cores, once all of them run. */
function watchCrowd(words: Int32Array, numHelpers: number): { readonly look: () => void; readonly close: () => void } {
  if (numHelpers === 0) return { look: () => undefined, close: () => undefined }
  Atomics.store(words, NUMBER_WORD, threadNumber())
  let clocks: ThreadClocks | undefined
  const times = (): readonly ThreadTimes[] | undefined => {
    const threads = Array.from({ length: numHelpers + 1 }, (_, thread) => Atomics.load(words, NUMBER_WORD + thread))
    if (!threads.includes(0)) clocks ??= openThreadClocks(threads)
    return clocks?.read()
  }
  const setActive = (active: number): void => {
    Atomics.store(words, ACTIVE_WORD, active)
    Atomics.notify(words, ACTIVE_WORD)
  }
  const look = createCrowding({ numHelpers, times, nowMs: () => performance.now(), setActive })
  return { look, close: () => clocks?.close() }
}

function awaitDone(words: Int32Array, isDone: () => boolean): void {
  const deadline = performance.now() + DEADLINE_MS
  while (!isDone()) {
    if (performance.now() > deadline)
      throw new ClusterError('internal', 'a compute thread did not end its task in 60 s')
    Atomics.wait(words, DONE_WORD, Atomics.load(words, DONE_WORD), NAP_MS)
  }
}

function startHelper(workerData: KernelThreadData): Worker {
  const helper = new Worker(builtFile('lib/compute/kernel-thread.js'), { workerData, execArgv: [] })
  helper.on('error', () => undefined) // one that cannot start takes no task: the caller computes alone
  helper.unref()
  return helper
}

function growTo(memory: WebAssembly.Memory, end: number, withHugePages: boolean): void {
  const pages = Math.min(MAX_PAGES, Math.ceil(end / GROWTH_BYTES) * (GROWTH_BYTES / PAGE_BYTES))
  if (end > MAX_PAGES * PAGE_BYTES) {
    throw new ClusterError(
      'resource_exhausted',
      `compute memory: want ${end} bytes, one process can hold 4 GB; use more workers`,
    )
  }
  const grown = memory.buffer.byteLength
  if (pages * PAGE_BYTES <= grown) return
  memory.grow(pages - grown / PAGE_BYTES)
  if (withHugePages) preferHugePages(memory.buffer, grown)
}
