// Decides which sequences of one attention worker run in the next step, and with how many rows.
//
// Invariants
//   Z1  Decoding sequences come before prefill; prefill is cut into chunks that fit the token budget.
//   Z2  No step is planned that the KV capacity cannot hold: of the lowest class the youngest sequence is preempted
//       (recomputed later). A sequence alone may exceed the capacity up to the whole of the worker.
//   Z3  Who is admitted next is the waiting queue's to say (`waiting-queue.ts`).
//   Z4  Where more decode than the token budget allows, they take turns.
//   Z5  A sequence whose reader is too slow is parked: in no step, its KV kept as long as nobody needs the room.

import { ClusterError } from '../../lib/errors.js'
import { BLOCK_TOKENS, blocksFor, type KvBlocks } from './kv-blocks.js'
import { createKvRoom } from './kv-room.js'
import { UNPACED, type Pace } from './pace.js'
import { decodeRows, isDecoding, prefillRows, restart, rootOnly, type Rows, type Sequence } from './sequence.js'
import { shapeOf } from './step-shape.js'
import { createWaitingQueue, PRIORITIES } from './waiting-queue.js'

export interface SchedulerLimits {
  readonly kvTokens: number // of the worker
  readonly maxRunning: number
  readonly tokenBudget: number // rows a step
  readonly prefillChunk: number // rows of one prompt a step
  readonly maxTreeNodes: number
  readonly prefixCache: boolean
}

export interface Scheduler {
  readonly blocks: KvBlocks
  readonly running: readonly Sequence[]
  readonly waiting: readonly Sequence[] // in no order that counts
  readonly numWaiting: number
  readonly parked: readonly Sequence[]
  has(sequence: Sequence): boolean
  readonly preemptions: number
  /** From the next step on this many of the worker's tokens may be used. */
  resize(kvTokens: number): void
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
  /** Nothing is admitted for so long: the worker has less room than was thought. */
  hold(delayMs: number): void
  /** How much longer, until `schedule` has looked again; undefined: nothing is held. */
  readonly heldMs: number | undefined
  /** The sequence was given output tokens. */
  served(sequence: Sequence, numTokens: number): void
  /** Everything, for moving to another worker. */
  takeAll(): Sequence[]
  /** Sequences whose KV the worker may drop, since the last call. */
  takeReleased(): string[]
  /** Sequences that run no more, since the last call. */
  takeEnded(): string[]
}

export interface SchedulerHooks {
  readonly now?: () => number // milliseconds; without it nothing ages
  /** A waiting sequence was admitted. */
  readonly onAdmitted?: (sequence: Sequence) => void
  readonly onPreempted?: () => void
}

/** `pace` sizes prefill chunks below the limits. */
export function createScheduler(limits: SchedulerLimits, pace: Pace = UNPACED, hooks: SchedulerHooks = {}): Scheduler {
  const { now = () => 0, onAdmitted, onPreempted } = hooks
  const queue = createWaitingQueue()
  let running: Sequence[] = []
  let parked: Sequence[] = []
  let ended: string[] = []
  let preemptions = 0
  let heldUntilMs: number | undefined
  const lastTurn = new WeakMap<Sequence, number>() // to decode, where not all can at once
  let numTurns = 0

  const without = (sequences: Sequence[], sequence: Sequence): Sequence[] =>
    sequences.filter((other) => other !== sequence)

  const free = (sequence: Sequence): void => {
    running = without(running, sequence)
    if (room.blocks.holds(sequence.id)) room.drop(sequence.id)
    ended.push(sequence.id)
  }

  const giveWay = (): boolean => {
    const holder = parked.find(({ id }) => room.blocks.holds(id))
    if (holder === undefined) return false
    free(holder)
    restart(holder)
    return true
  }
  const room = createKvRoom({ ...limits, giveWay })
  const { blocks } = room

  const requeue = (sequence: Sequence): void => {
    free(sequence)
    restart(sequence)
    queue.remove(sequence)
    queue.putBack([sequence], now())
  }

  const preempt = (sequence: Sequence): void => {
    requeue(sequence)
    sequence.watch?.note('banyan.preempted')
    preemptions += 1
    onPreempted?.()
  }

  /** Of the lowest class the youngest. */
  const nextVictim = (): Sequence | undefined => {
    const rank = ({ priority }: Sequence): number => PRIORITIES.indexOf(priority)
    const lowest = Math.max(...running.map(rank))
    return running.findLast((sequence) => rank(sequence) === lowest)
  }

  /** Room for a running sequence's next rows; takes it from others where needed. */
  const makeRoom = (sequence: Sequence, tokens: number): boolean => {
    while (!room.reserve(sequence.id, tokens)) {
      const victim = nextVictim()
      if (victim === undefined || victim === sequence) return false
      preempt(victim)
    }
    return true
  }

  /** After the capacity shrank; a sequence alone may stay. */
  const fit = (): void => {
    const next = (): Sequence | undefined => (running.length > 1 && !room.fit() ? nextVictim() : undefined)
    for (let victim = next(); victim !== undefined; victim = next()) preempt(victim)
  }

  const unpark = (sequence: Sequence): void => {
    const isHeld = blocks.holds(sequence.id)
    if (isHeld && running.length >= limits.maxRunning) return // its place is taken; the next free one is its
    parked = without(parked, sequence)
    if (isHeld) running.push(sequence)
    else queue.putBack([sequence], now())
  }

  const park = (): void => {
    const slow = running.filter(({ emitter }) => emitter.isPaused)
    if (slow.length === 0 && parked.length === 0) return
    for (const sequence of slow) running = without(running, sequence)
    parked.push(...slow)
    for (const sequence of [...parked]) if (!sequence.emitter.isPaused) unpark(sequence)
  }

  const admit = (): void => {
    if (heldUntilMs !== undefined && now() < heldUntilMs) return
    heldUntilMs = undefined
    const head = (): Sequence | undefined => (running.length < limits.maxRunning ? queue.head(now()) : undefined)
    for (let next = head(); next !== undefined; next = head()) {
      const needed = next.tokens.length + 1
      const { isPaused } = next.emitter
      const canEverFit = blocksFor(needed) <= blocks.whole
      if (!isPaused && canEverFit && !room.start(next, needed)) return
      queue.take(next)
      next.stats.admittedMs ??= now()
      onAdmitted?.(next)
      if (isPaused) parked.push(next)
      else if (canEverFit) running.push(next)
      else next.emitter.fail(tooLarge(needed, blocks.whole)) // it came from a larger worker; nothing behind it may wait
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
      else preempt(sequence)
    }
    return rows.filter((planned) => running.includes(planned.sequence))
  }

  const schedule = (): Rows[] => {
    park()
    fit()
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
      return queue.sequences
    },
    get numWaiting() {
      return queue.size
    },
    get parked() {
      return parked
    },
    has: (sequence) => queue.has(sequence) || running.includes(sequence) || parked.includes(sequence),
    get preemptions() {
      return preemptions
    },
    resize: (kvTokens) => blocks.resize(kvTokens),
    enqueue: (sequence) => queue.add(sequence, now()),
    schedule,
    treeRoom: (rows) => limits.tokenBudget - rows.reduce((sum, { tree }) => sum + tree.tokens.length, 0),
    maxTreeNodes: limits.maxTreeNodes,
    widen: (rows, tree) => {
      const hasRoom = room.reserve(rows.sequence.id, rows.sequence.tokens.length + tree.tokens.length)
      return hasRoom ? decodeRows(rows.sequence, tree) : rows
    },
    remove: (sequence) => {
      queue.remove(sequence)
      if (running.includes(sequence) || parked.includes(sequence)) free(sequence)
      parked = without(parked, sequence)
    },
    note: (sequence, length) => {
      if (running.includes(sequence)) room.prefixes.note(sequence.id, sequence.tokens, length)
    },
    retire: (sequence) => {
      if (!running.includes(sequence)) return
      running = without(running, sequence)
      room.keep(sequence.id)
      ended.push(sequence.id)
    },
    cached: (tokens) => room.prefixes.peek(tokens),
    requeue,
    refuse: (sequence) => {
      room.distrust(sequence)
      requeue(sequence)
    },
    hold: (delayMs) => {
      heldUntilMs = now() + delayMs
    },
    get heldMs() {
      return heldUntilMs === undefined ? undefined : Math.max(0, heldUntilMs - now())
    },
    served: (sequence, numTokens) => queue.served(sequence, numTokens),
    takeAll: () => {
      const active = [...running, ...parked]
      const waiting = queue.takeAll()
      for (const sequence of active) {
        free(sequence)
        restart(sequence)
      }
      parked = []
      room.dropKept()
      return [...active, ...waiting]
    },
    takeReleased: () => room.takeReleased(),
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
