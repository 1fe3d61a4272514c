// Keys and values on a device: one pool of slots per layer, and per sequence a table of them. What a CPU's cache does by
// copying, this one does by editing tables: a fork shares slots, a commit puts the accepted ones in order.
//
// Invariants
//   DK1  A sequence's slots below `length` hold the committed tokens in position order.
//   DK2  A slot with more than one owner is never written; one without an owner goes back to the pool.
//   DK3  What a table is filled up with is a slot of zeros.
//   DK4  The lowest free slot is taken first, so that the pool's end gets free when little is held, and is given back.

import type { HeadGeometry } from '../compute/attention-layer.js'
import { WASTE_SLOT, ZERO_SLOT } from '../compute/gpu/attention-runs.js'
import { GraphBuilder, type BuiltGraph } from '../compute/graph.js'
import { createSession, type DeviceTensor, type Kept, type Provider } from '../compute/session.js'
import { ClusterError } from '../errors.js'
import type { SequenceCache } from './attention-engine.js'

/** Slots of a layer: [slots · kvHeads, headDim]. */
export interface LayerSlots {
  readonly keys: DeviceTensor
  readonly values: DeviceTensor
}

export interface SlotPool {
  /** Slots of sequences; those that several share count once. */
  readonly held: number
  readonly capacity: number // slots that the device has memory for
  readonly numTensors: number
  layer(index: number): LayerSlots
  /** A free slot. Throws `resource_exhausted` where the device has no memory for more. */
  take(): number
  share(slot: number): void
  leave(slot: number): void
  owners(slot: number): number
  /** Gives memory back where most slots are free. Call it where no run is under way: one that was given up may still write. */
  trim(): void
  dispose(): void
}

const FIRST_SLOTS = 256
const FIXED_SLOTS = Math.max(ZERO_SLOT, WASTE_SLOT) + 1

export interface PoolOptions extends HeadGeometry {
  readonly provider: Provider
  readonly numLayers: number
}

export function createSlotPool(options: PoolOptions): SlotPool {
  const { provider, numLayers, numKvHeads, headDim } = options
  const enter = createSession(enterGraph(headDim), { provider, keep: ['pool'] })
  const join = createSession(joinGraph(headDim), { provider, keep: ['pool'] })
  const cut = createSession(cutGraph(headDim), { provider, keep: ['pool'] })
  let tensors: readonly DeviceTensor[] = [] // of each layer keys, then values
  let capacity = 0
  let held = 0
  let lowest = FIXED_SLOTS // no slot below it is free
  const owners: number[] = []

  /** All tensors or none are others. */
  const replace = (slots: number, make: (old: DeviceTensor | undefined) => Kept): void => {
    const made: DeviceTensor[] = []
    try {
      for (let i = 0; i < 2 * numLayers; i++) made.push(make(tensors[i]).pool!)
    } catch (error) {
      for (const tensor of made) tensor.dispose()
      if (ClusterError.from(error).code === 'unavailable') throw error
      throw new ClusterError('resource_exhausted', `KV on ${provider}: no memory for ${slots} slots`, { cause: error })
    }
    for (const tensor of tensors) tensor.dispose()
    tensors = made
    capacity = slots
  }

  /** Twice the slots; the old ones keep their place. */
  const grow = (): void => {
    const added = Math.max(FIRST_SLOTS, capacity)
    const zeros = { data: new Float32Array(added * numKvHeads * headDim), dims: [added * numKvHeads, headDim] }
    replace(
      capacity + added,
      (old) => (old === undefined ? enter.runKept({ zeros }) : join.runKept({ old, zeros })).kept,
    )
  }

  /** The first slots, in a power of two, that hold all that is held, and as much again. */
  const wanted = (): number => {
    let end = capacity
    while (end > FIXED_SLOTS && !owners[end - 1]) end -= 1
    return FIRST_SLOTS * 2 ** Math.max(0, Math.ceil(Math.log2(Math.max(end, 2 * held) / FIRST_SLOTS)))
  }

  return {
    get held() {
      return held
    },
    get capacity() {
      return capacity
    },
    get numTensors() {
      return tensors.length
    },
    layer: (index) => ({ keys: tensors[2 * index]!, values: tensors[2 * index + 1]! }),
    take: () => {
      if (FIXED_SLOTS + held >= capacity) grow()
      while (owners[lowest]) lowest += 1
      owners[lowest] = 1
      held += 1
      return lowest
    },
    share: (slot) => (owners[slot]! += 1),
    leave: (slot) => {
      owners[slot]! -= 1
      if (owners[slot] !== 0) return
      held -= 1
      lowest = Math.min(lowest, slot)
    },
    owners: (slot) => owners[slot]!,
    trim: () => {
      const slots = held > capacity / 4 ? capacity : wanted()
      if (slots >= capacity) return
      const end = { data: BigInt64Array.of(BigInt(slots * numKvHeads)), dims: [1] }
      replace(slots, (old) => cut.runKept({ old: old!, end }).kept)
    },
    dispose: () => {
      for (const part of [enter, join, cut, ...tensors]) part.dispose()
    },
  }
}

function enterGraph(headDim: number): BuiltGraph {
  const graph = new GraphBuilder()
  graph.output(graph.input('zeros', ['added', headDim]), 'pool', ['added', headDim])
  return graph.build('slots')
}

function joinGraph(headDim: number): BuiltGraph {
  const graph = new GraphBuilder()
  const parts = [graph.input('old', ['slots', headDim]), graph.input('zeros', ['added', headDim])]
  graph.output(graph.node('Concat', parts, { attributes: { axis: 0 } }), 'pool', ['all', headDim])
  return graph.build('more-slots')
}

function cutGraph(headDim: number): BuiltGraph {
  const graph = new GraphBuilder()
  const [first, axis] = [graph.constantInt64([0]), graph.constantInt64([0])]
  const inputs = [graph.input('old', ['slots', headDim]), first, graph.input('end', [1], 'int64'), axis]
  graph.output(graph.node('Slice', inputs), 'pool', ['kept', headDim])
  return graph.build('fewer-slots')
}

/** One sequence's table of slots. */
export class DeviceCache implements SequenceCache {
  private readonly pool: SlotPool
  private readonly slots: number[] = []
  private committed = 0

  constructor(pool: SlotPool) {
    this.pool = pool
  }

  get length(): number {
    return this.committed
  }

  get heldTokens(): number {
    return this.slots.slice(0, this.committed).reduce((sum, slot) => sum + 1 / this.pool.owners(slot), 0)
  }

  /** Slots of the pool by slots of this sequence. */
  get table(): readonly number[] {
    return this.slots
  }

  reserve(slots: number): void {
    while (this.slots.length < slots) this.slots.push(this.pool.take())
  }

  /** Slots that others own as well are left to them: rows are about to be written there. */
  own(slots: ArrayLike<number>): void {
    for (const slot of Array.from(slots)) {
      const shared = this.slots[slot]!
      if (this.pool.owners(shared) === 1) continue
      this.slots[slot] = this.pool.take()
      this.pool.leave(shared)
    }
  }

  fork(slots: number): DeviceCache {
    const fork = new DeviceCache(this.pool)
    for (const slot of this.slots.slice(0, slots)) {
      this.pool.share(slot)
      fork.slots.push(slot)
    }
    fork.committed = slots
    return fork
  }

  commit(acceptedSlots: ArrayLike<number>): void {
    for (const from of Array.from(acceptedSlots)) {
      const [accepted, other] = [this.slots[from]!, this.slots[this.committed]!]
      this.slots[this.committed] = accepted
      this.slots[from] = other
      this.committed += 1
    }
  }

  release(): void {
    for (const slot of this.slots) this.pool.leave(slot)
    this.slots.length = 0
    this.committed = 0
  }
}
