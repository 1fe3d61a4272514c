// The ring in shared memory through which tasks reach the threads, as `kernels/index.ts` reads it: a record of 16 words
// each, whose last word says how many tasks are to be done before it.
//
// Invariants
//   TR1  A record is written before the limit shows it; from then on it is the threads' until it is done.

import { LIMIT_WORD } from './kernel-instance.js'
import type { WriteTask } from './kernels.js'

const RING_WORD = 1024
const RING_TASKS = 1024
const TASK_WORDS = 16
const AFTER_WORD = 15
/** The first byte behind the ring. */
export const RING_END = RING_WORD * 4 + RING_TASKS * TASK_WORDS * 4

/** Added to an operation that machine code computes. */
const WIDE = 32

export interface TaskRing {
  readonly task: WriteTask
  /** Ends a phase, and shows it to the threads. */
  readonly publish: () => void
  /** All tasks are done: their records can be written again. */
  done(): void
  readonly numTasks: number // ever written
}

export interface TaskRingOptions {
  readonly isWide: (op: number) => boolean
  readonly hasHelpers: boolean
  /** Makes room where the ring is full: has all tasks done. */
  readonly onFull: () => void
}

export function createTaskRing(words: Int32Array, { isWide, hasHelpers, onFull }: TaskRingOptions): TaskRing {
  const codes = Int32Array.from({ length: WIDE }, (_, op) => (isWide(op) ? op + WIDE : op))
  let limit = Atomics.load(words, LIMIT_WORD) // of what is written
  let after = limit // where the phase begins
  let room = RING_TASKS
  let isAwake = false // helpers were woken for this run
  let numTasks = 0

  const publish = (): void => {
    after = limit
    Atomics.store(words, LIMIT_WORD, limit)
    if (isAwake || !hasHelpers || RING_TASKS - room < 2) return // one task is the caller's own
    Atomics.notify(words, LIMIT_WORD)
    isAwake = true
  }

  return {
    task: (op, a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0, i = 0, j = 0, k = 0, l = 0, m = 0, n = 0) => {
      if (room === 0) onFull()
      const at = RING_WORD + (limit & (RING_TASKS - 1)) * TASK_WORDS
      words[at] = codes[op]!
      words[at + 1] = a
      words[at + 2] = b
      words[at + 3] = c
      words[at + 4] = d
      words[at + 5] = e
      words[at + 6] = f
      words[at + 7] = g
      words[at + 8] = h
      words[at + 9] = i
      words[at + 10] = j
      words[at + 11] = k
      words[at + 12] = l
      words[at + 13] = m
      words[at + 14] = n
      words[at + AFTER_WORD] = after
      limit = (limit + 1) | 0
      room -= 1
      numTasks += 1
    },
    publish,
    done: () => {
      room = RING_TASKS
      isAwake = false
    },
    get numTasks() {
      return numTasks
    },
  }
}
