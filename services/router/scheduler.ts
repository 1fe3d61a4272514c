// Decides which sequences of one attention worker run in the next step, and with how many rows.
//
// Invariants
//   Z1  Decoding sequences come before prefill; prefill is cut into chunks that fit the token budget.
//   Z2  No step is planned that the KV capacity cannot hold: the youngest sequence is preempted (recomputed later).
//   Z3  Waiting sequences are admitted in order of arrival; a preempted one goes to the front.
//   Z4  Where more decode than the token budget allows, they take turns.
//   Z5  Sequences that ended are kept for their prefixes as long as nobody needs the room, in half of it at most.

import { ClusterError } from '../../lib/errors.js'
import { BLOCK_TOKENS, blocksFor, createKvBlocks, type KvBlocks } from './kv-blocks.js'
import { UNPACED, type Pace } from './pace.js'
import { createPrefixCache, NO_PREFIXES } from './prefix-cache.js'
import {
  decodeRows,
  isDecoding,
  prefillRows,
  restart,
  rootOnly,
  startFrom,
  type Rows,
  type Sequence,
} from './sequence.js'
import { shapeOf } from './step-shape.js'

export interface SchedulerLimits {
  readonly kvTokens: number
  readonly maxRunning: number
  readonly tokenBudget: number // rows a step
  readonly prefillChunk: number // rows of one prompt a step
  readonly maxTreeNodes: number
  readonly prefixCache: boolean
}

export interface Scheduler {
  readonly blocks: KvBlocks
  readonly running: readonly Sequence[]
  readonly waiting: readonly Sequence[]
  readonly preemptions: number
  enqueue(sequence: Sequence): void
  /** The rows of the next step; empty when there is nothing to do. */
  schedule(): Rows[]
  /** Drafted nodes that the step may take beside these rows. */
  treeRoom(rows: readonly Rows[]): number
  readonly maxTreeNodes: number // of one sequence, root included
  /** Replaces a decoding sequence's single row by a tree where the KV has room for it. */
  widen(rows: Rows, tree: Rows['tree']): Rows
  /** Takes a sequence out for good, and its KV with it. */
  remove(sequence: Sequence): void
  /** The worker holds the KV of the sequence's first `length` tokens. */
  note(sequence: Sequence, length: number): void
  /** Takes a sequence out that has ended well: its KV is kept where it may serve others. */
  retire(sequence: Sequence): void
  /** Tokens of a prompt whose KV is here. */
  cached(tokens: readonly number[]): number
  /** Takes the KV of a sequence away and puts it at the front of the queue. */
  requeue(sequence: Sequence): void
  /** The same after the worker refused its rows: the prefix that it was to take over is not trusted again. */
  refuse(sequence: Sequence): void
  /** Everything, for moving to another worker. */
  takeAll(): Sequence[]
  /** Sequences whose KV the worker may drop, since the last call. */
  takeReleased(): string[]
  /** Sequences that run no more, since the last call. */
  takeEnded(): string[]
}

/** `pace` sizes prefill chunks below the limits. */
export function createScheduler(limits: SchedulerLimits, pace: Pace = UNPACED): Scheduler {
  const blocks = createKvBlocks(limits.kvTokens)
  let running: Sequence[] = []
  let waiting: Sequence[] = []
  const prefixes = limits.prefixCache ? createPrefixCache() : NO_PREFIXES
  let released: string[] = []
  let ended: string[] = []
  let preemptions = 0
  const lastTurn = new WeakMap<Sequence, number>() // to decode, where not all can at once
  let numTurns = 0

  const drop = (id: string): void => {
    blocks.release(id)
    prefixes.forget(id)
    released.push(id)
  }

  const free = (sequence: Sequence): void => {
    running = running.filter((other) => other !== sequence)
    drop(sequence.id)
    ended.push(sequence.id)
  }

  /** Room for a sequence, at the cost of kept ones (Z5). */
  const reserve = (id: string, tokens: number, except?: string): boolean => {
    while (!blocks.reserve(id, tokens)) {
      const oldest = prefixes.oldest(except)
      if (oldest === undefined) return false
      drop(oldest)
    }
    return true
  }

  const retire = (sequence: Sequence): void => {
    if (!running.includes(sequence)) return
    if (!prefixes.keep(sequence.id)) {
      free(sequence)
      return
    }
    running = running.filter((other) => other !== sequence)
    blocks.keep(sequence.id)
    ended.push(sequence.id)
    for (let oldest = prefixes.oldest(); oldest && blocks.kept > blocks.capacity / 2; oldest = prefixes.oldest()) {
      drop(oldest)
    }
  }

  /** A place among the running for the next sequence, with the KV of its prefix where somebody holds it. */
  const take = (next: Sequence, needed: number): boolean => {
    const prefix = prefixes.find(next.tokens)
    if (prefix === undefined) return reserve(next.id, needed)
    blocks.share(prefix.sequence, next.id, prefix.length)
    if (reserve(next.id, needed, prefix.sequence)) {
      startFrom(next, prefix)
      return true
    }
    blocks.release(next.id)
    return reserve(next.id, needed) // there is room only where the prefix itself is given up
  }

  const requeue = (sequence: Sequence): void => {
    free(sequence)
    restart(sequence)
    waiting = [sequence, ...waiting.filter((other) => other !== sequence)]
  }

  /** Room for a running sequence's next rows; takes it from the youngest others where needed. */
  const makeRoom = (sequence: Sequence, tokens: number): boolean => {
    while (!reserve(sequence.id, tokens)) {
      const youngest = running.at(-1)
      if (youngest === undefined || youngest === sequence) return false
      requeue(youngest)
      preemptions += 1
    }
    return true
  }

  const admit = (): void => {
    for (let next = waiting[0]; next !== undefined && running.length < limits.maxRunning; next = waiting[0]) {
      const needed = next.tokens.length + 1
      const canEverFit = blocksFor(needed) <= blocks.capacity
      if (canEverFit && !take(next, needed)) return
      waiting = waiting.slice(1)
      if (canEverFit) running.push(next)
      else next.emitter.fail(tooLarge(needed, blocks.capacity)) // it came from a larger worker; nothing behind it may wait
    }
  }

  /** The sequences that decode in this step: all, or those that wait longest for their turn (Z4). */
  const decodingInTurn = (): Sequence[] => {
    const decoding = running.filter(isDecoding)
    if (decoding.length <= limits.tokenBudget) return decoding
    const turn = (sequence: Sequence): number => lastTurn.get(sequence) ?? 0
    const chosen = [...decoding].sort((a, b) => turn(a) - turn(b)).slice(0, limits.tokenBudget)
    for (const sequence of chosen) lastTurn.set(sequence, (numTurns += 1))
    return chosen
  }

  const scheduleDecodes = (): Rows[] => {
    const rows: Rows[] = []
    for (const sequence of decodingInTurn()) {
      if (!running.includes(sequence)) continue // preempted for one before it
      if (makeRoom(sequence, sequence.tokens.length)) rows.push(decodeRows(sequence, rootOnly(sequence)))
      else {
        requeue(sequence)
        preemptions += 1
      }
    }
    return rows.filter((planned) => running.includes(planned.sequence))
  }

  const schedule = (): Rows[] => {
    admit()
    const rows = scheduleDecodes()
    const chunkSize = pace.begin(shapeOf(rows))
    let budget = limits.tokenBudget - rows.length
    for (const sequence of running.filter((candidate) => !isDecoding(candidate))) {
      const missing = sequence.tokens.length - sequence.base
      const chunk = chunkSize(sequence.base, Math.min(limits.prefillChunk, budget, missing))
      if (chunk < 1) break
      rows.push(prefillRows(sequence, chunk))
      budget -= chunk
    }
    return rows
  }

  return {
    blocks,
    get running() {
      return running
    },
    get waiting() {
      return waiting
    },
    get preemptions() {
      return preemptions
    },
    enqueue: (sequence) => {
      waiting = [...waiting, sequence]
    },
    schedule,
    treeRoom: (rows) => limits.tokenBudget - rows.reduce((sum, { tree }) => sum + tree.tokens.length, 0),
    maxTreeNodes: limits.maxTreeNodes,
    widen: (rows, tree) => {
      const hasRoom = reserve(rows.sequence.id, rows.sequence.tokens.length + tree.tokens.length)
      return hasRoom ? decodeRows(rows.sequence, tree) : rows
    },
    remove: (sequence) => {
      waiting = waiting.filter((other) => other !== sequence)
      if (running.includes(sequence)) free(sequence)
    },
    note: (sequence, length) => {
      if (running.includes(sequence)) prefixes.note(sequence.id, sequence.tokens, length)
    },
    retire,
    cached: (tokens) => prefixes.peek(tokens),
    requeue,
    refuse: (sequence) => {
      const holder = sequence.epoch === 0 ? sequence.prefix?.sequence : undefined
      if (holder !== undefined && prefixes.kept.includes(holder)) drop(holder)
      else if (holder !== undefined) prefixes.forget(holder)
      requeue(sequence)
    },
    takeAll: () => {
      const all = [...running, ...waiting]
      for (const sequence of [...running]) {
        free(sequence)
        restart(sequence)
      }
      waiting = []
      for (const id of prefixes.kept) drop(id)
      return all
    },
    takeReleased: () => {
      const ids = released
      released = []
      return ids
    },
    takeEnded: () => {
      const ids = ended
      ended = []
      return ids
    },
  }
}

const tooLarge = (tokens: number, capacity: number): ClusterError =>
  new ClusterError(
    'resource_exhausted',
    `KV cache: want room for ${tokens} tokens, it holds ${capacity * BLOCK_TOKENS}`,
    {
      details: { reason: 'KV_TOO_SMALL' },
    },
  )
