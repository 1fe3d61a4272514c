// Arrays that packing fills, one expert like the other: whoever has copied a set gives its arrays back, so that a load
// leaves next to nothing to collect.
//
// Invariants
//   RC1  An array is handed out to one at a time; only arrays that came from here are taken back.

import type { WeightSet } from './weight-store.js'

const MOST_KEPT = 4 // of one expert or product

const kept: ArrayBuffer[] = []
const lent = new WeakSet<ArrayBufferLike>()

/** So many bytes, holding anything. */
export function takeBytes(numBytes: number): ArrayBuffer {
  const found = kept.findIndex(({ byteLength }) => byteLength === numBytes)
  const [buffer = new ArrayBuffer(numBytes)] = found === -1 ? [] : kept.splice(found, 1)
  lent.add(buffer)
  return buffer
}

/** The set has been copied and is read no more. */
export function giveBack(set: WeightSet): void {
  for (const { source } of Object.values(set)) {
    if ('folder' in source || !lent.delete(source.buffer) || !(source.buffer instanceof ArrayBuffer)) continue
    kept.push(source.buffer)
    if (kept.length > MOST_KEPT) kept.shift()
  }
}

/** Lets go of what was kept: the load is over. */
export const forgetKept = (): void => void kept.splice(0)
