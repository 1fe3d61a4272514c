// What computes experts: the CPU's kernels, or a device.
//
// Invariants
//   E1  A row's terms are a function of that row and the weights, whatever the rows beside it.
//   E2  A sum adds its entries in the order of its list; the first one is stored, not added to zero.

import type { Activation, WeightFormat } from '../model/spec.js'
import type { ExpertInput } from './expert-call.js'
import type { LinearWeights } from './linear-weights.js'
import type { Steps } from './steps.js'
import type { WeightSet } from './weight-store.js'

export interface ExpertWeights {
  readonly gate: LinearWeights
  readonly up: LinearWeights
  readonly down: LinearWeights
}

/** Rows that go through one expert; each is an entry of the call. */
export interface ExpertRows<E> {
  readonly expert: E
  readonly rows: ArrayLike<number> // places in x
  readonly weights: ArrayLike<number>
}

export interface ExpertWork<E> {
  readonly input: ExpertInput
  readonly hidden: number
  readonly calls: readonly ExpertRows<E>[]
  /** Entries, counted through all calls, that each row of the result adds up. */
  readonly sums: readonly (readonly number[])[]
}

export interface ExpertEngine<E> {
  /** Rows may come as products read them. */
  readonly readsRounded: boolean
  /** Of its weight sets: other engines lay weights out otherwise. */
  readonly setName: string
  /** The weights of one expert, by names that begin with `name`. */
  pack(name: string, weights: ExpertWeights, format: WeightFormat): Steps<WeightSet>
  /** An expert packed by `pack` where it computes; its activation is silu, unless given. */
  place(set: WeightSet, name: string, activation?: Activation): E
  /** Sums over entries of weight · down(activation(gate(x), up(x))): [sums.length, hidden]; read before the next run. */
  compute(work: ExpertWork<E>): Float32Array
  dispose(): void
}
