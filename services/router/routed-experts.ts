// Which experts the tokens of a sequence went to, kept while it runs for the file that goes with its record.
//
// Invariants
//   X1  A row is of the token at its place in the sequence, as it was accepted; one that is computed again (a restart, a
//       lost worker) replaces itself by the same.
//   X2  All sequences of a router keep at most `maxBytes`: one that finds no room keeps nothing, and has no file.
//   X3  No token depends on it: an answer without (good) routes leaves its rows not seen.

import { readI32, type WireTensor } from '../../lib/wire/tensor.js'

const NOT_SEEN = -2 // taken over from another sequence's KV, or never computed here
const FIRST_ROWS = 64

export interface RoutedExperts {
  readonly isWanted: boolean // it has room
  readonly isEmpty: boolean
  /** Routes i32 [nodes, layers, top-k] of an entry: those of `nodes`, whose tokens come at `position`. */
  keep(routes: WireTensor | undefined, nodes: readonly number[], position: number): void
  /** int16 [count, layers, top-k] from the first token on. */
  rows(count: number): { readonly values: Int16Array; readonly shape: readonly number[] }
  /** Nothing is kept any more. */
  drop(): void
}

export interface RoutesOptions {
  readonly numLayers: number
  readonly topK: number
  readonly maxBytes: number
  readonly onFull: () => void
}

/** Makes the keepers of all sequences of a router. */
export function createRoutesKeeper({ numLayers, topK, maxBytes, onFull }: RoutesOptions): () => RoutedExperts {
  const rowSize = numLayers * topK
  let usedBytes = 0

  return () => {
    let values = new Int16Array(0)
    let isWanted = true
    let numRows = 0

    const drop = (): void => {
      usedBytes -= values.byteLength
      values = new Int16Array(0)
      isWanted = false
      numRows = 0
    }

    /** Room for so many rows, twice as much as before at least. */
    const reserve = (wanted: number): boolean => {
      const before = values.length / rowSize
      if (wanted <= before) return true
      const grown = Math.max(wanted, 2 * before, FIRST_ROWS) * rowSize
      const moreBytes = grown * Int16Array.BYTES_PER_ELEMENT - values.byteLength
      if (usedBytes + moreBytes > maxBytes) return false
      const next = new Int16Array(grown).fill(NOT_SEEN)
      next.set(values)
      values = next
      usedBytes += moreBytes
      return true
    }

    const keep: RoutedExperts['keep'] = (routes, nodes, position) => {
      if (!isWanted || routes === undefined || nodes.length === 0) return
      if (routes.shape[1] !== numLayers || routes.shape[2] !== topK) return // of another model (X3)
      if (!reserve(position + nodes.length)) {
        drop()
        return onFull()
      }
      const chosen = readI32(routes, 'routes')
      nodes.forEach((node, i) => {
        values.set(chosen.subarray(node * rowSize, (node + 1) * rowSize), (position + i) * rowSize)
      })
      numRows = Math.max(numRows, position + nodes.length)
    }

    return {
      get isWanted() {
        return isWanted
      },
      get isEmpty() {
        return numRows === 0
      },
      keep,
      rows: (count) => {
        const rows = new Int16Array(count * rowSize).fill(NOT_SEEN)
        rows.set(values.subarray(0, Math.min(values.length, rows.length)))
        return { values: rows, shape: [count, numLayers, topK] }
      },
      drop,
    }
  }
}
