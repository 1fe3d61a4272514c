// Tasks: what threads take, one after the other, from a ring in shared memory. A task starts when all tasks before its
// `after` are done, so a list of phases is published at once and runs without a word from JavaScript. Who computes what
// decides nothing.
//
// Invariants
//   T1  `next` never passes `limit`, both only grow (modulo 2^32): a thread that wakes late finds either a task or nothing.
//   T2  A task is done when `done` counts it; it is written before `limit` shows it.
//   T3  `after` never falls from task to task, so `done` reaches it only by tasks before it.

import { Attention, attend, attendHalves } from './attention'
import {
  linearInt4,
  linearInt4Groups,
  linearInt4Halves,
  linearInt8,
  linearInt8Groups,
  linearInt8Halves,
  Product,
  weightBytes,
} from './linear'
import { keepLatents, LatentKeys, LatentQueries, prepareQueries } from './latent'
import { linearFloat, linearFloat16 } from './linear-float'
import { Rotation, rotate } from './rotation'
import { threadScratch } from './thread'
import { Gated, gated, Norm, norm, Quantise, quantise, Sum, sum } from './rows'

export { gatherFour, gatherOne, scoreFour, scoreOne } from './attention'
export { gatherFourHalves, gatherOneHalves, scoreFourHalves, scoreOneHalves } from './attention'
export { setThread } from './thread'
export { addErrorsInt4, addErrorsInt8, quantiseInt4, quantiseInt8 } from './levels' // called one by one, to pack weights
export { tileFloats, tileInt4, tileInt8 } from './tiles'
export { areFinite, narrowFloat16, widenBfloat16, widenFloat16 } from './widening'
export { oneRowInt4, oneRowInt8, twoRowsInt4, twoRowsInt8 } from './linear' // exported, so that they are not inlined
export { oneRowInt4Groups, oneRowInt8Groups, twoRowsInt4Groups, twoRowsInt8Groups } from './linear'
export { oneRowInt4Halves, oneRowInt8Halves, twoRowsInt4Halves, twoRowsInt8Halves } from './linear'

const LIMIT: usize = 0
const NEXT: usize = 64 // a cache line each
const DONE: usize = 128
const RING: usize = 4096
const RING_TASKS: u32 = 1024
const TASK_BYTES_LOG2: usize = 6
const AFTER: usize = 60 // a task's last word

/** Kernels that the processor has in wider vectors: same task, same bits. */
// @ts-ignore: decorator
@external("env", "wide")
declare function wide(operation: i32, task: usize, scratch: usize): void

const MOST_AHEAD: usize = 1 << 18 // bytes: a part of a core's cache
const WIDE: i32 = 32 // added to an operation that is to be computed there

function compute(task: usize): void {
  const operation = load<i32>(task)
  if (operation >= WIDE) return wide(operation - WIDE, task, threadScratch())
  switch (operation) {
    case 1:
      linearFloat(changetype<Product>(task))
      break
    case 2:
      linearInt8(changetype<Product>(task))
      break
    case 3:
      linearInt4(changetype<Product>(task))
      break
    case 4:
      quantise(changetype<Quantise>(task))
      break
    case 5:
      gated(changetype<Gated>(task))
      break
    case 6:
      norm(changetype<Norm>(task))
      break
    case 7:
      rotate(changetype<Rotation>(task))
      break
    case 8:
      attend(changetype<Attention>(task))
      break
    case 9:
      sum(changetype<Sum>(task))
      break
    case 10:
      keepLatents(changetype<LatentKeys>(task))
      break
    case 11:
      prepareQueries(changetype<LatentQueries>(task))
      break
    case 12:
      linearInt8Groups(changetype<Product>(task))
      break
    case 13:
      linearInt4Groups(changetype<Product>(task))
      break
    case 14:
      linearInt8Halves(changetype<Product>(task))
      break
    case 15:
      linearInt4Halves(changetype<Product>(task))
      break
    case 16:
      attendHalves(changetype<Attention>(task))
      break
    case 17:
      linearFloat16(changetype<Product>(task))
      break
  }
}

/** Bytes of weights that a product reads; 0 of other tasks. */
function bytesToRead(task: usize): usize {
  const operation = load<i32>(task) % WIDE
  const isProduct = operation <= 3 || (operation >= 12 && operation <= 15) || operation == 17
  return isProduct ? weightBytes(changetype<Product>(task)) : 0
}

/**
 * Waits until the phase before is done: its threads compute, they need no word from this one. Meanwhile the weights that
 * this one is going to read come into its cache.
 */
function awaitPhase(task: usize, after: i32): void {
  if (atomic.load<i32>(DONE) - after >= 0) return
  let weights = changetype<Product>(task).weights
  const end = weights + min(bytesToRead(task), MOST_AHEAD)
  while (atomic.load<i32>(DONE) - after < 0) {
    if (weights >= end) continue
    atomic.load<i32>(weights) // not a plain load: nobody reads the value, so that one would be left out
    weights += 64
  }
}

/** Computes tasks until none is left to take. */
export function work(): void {
  while (true) {
    const next = atomic.load<i32>(NEXT)
    if (atomic.load<i32>(LIMIT) - next <= 0) return
    if (atomic.cmpxchg<i32>(NEXT, next, next + 1) != next) continue
    const task = RING + ((<usize>(<u32>next % RING_TASKS)) << TASK_BYTES_LOG2)
    const after = load<i32>(task, AFTER)
    awaitPhase(task, after)
    compute(task)
    atomic.add<i32>(DONE, 1)
  }
}

/** Waits up to `spins` looks for `limit` to differ from `seen`; returns whether it does. */
export function spinLimit(seen: i32, spins: i32): bool {
  for (let i = 0; i < spins; i++) if (atomic.load<i32>(LIMIT) != seen) return true
  return false
}

/** Waits up to `spins` looks for `done` to reach `limit`; returns whether it has. */
export function spinDone(spins: i32): bool {
  for (let i = 0; i < spins; i++) if (atomic.load<i32>(DONE) == atomic.load<i32>(LIMIT)) return true
  return false
}
