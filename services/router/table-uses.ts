// Which routing tables steps under way were sent with. What only an older table names may go when no step uses that any
// more.

import type { Placement } from './placement.js'

/** A table for one step. */
export interface HeldTable {
  readonly table: Placement
  readonly epoch: number
  /** The step has ended; once is enough. */
  release(this: void): void
}

export interface TableUses {
  hold(this: void): HeldTable
  /** Whether a step under way uses a table before the current one. */
  isOlderInUse(): boolean
}

/** Calls back when the last use of older tables has ended. */
export function createTableUses(
  current: () => { readonly table: Placement; readonly epoch: number },
  onOlderFree: () => void,
): TableUses {
  const uses = new Map<number, number>() // epoch → steps under way
  const isOlderInUse = (): boolean => [...uses.keys()].some((epoch) => epoch < current().epoch)

  const release = (epoch: number): void => {
    const left = (uses.get(epoch) ?? 1) - 1
    if (left > 0) uses.set(epoch, left)
    else uses.delete(epoch)
    if (left === 0 && epoch < current().epoch && !isOlderInUse()) onOlderFree()
  }

  return {
    isOlderInUse,
    hold: () => {
      const { table, epoch } = current()
      uses.set(epoch, (uses.get(epoch) ?? 0) + 1)
      let isHeld = true
      return {
        table,
        epoch,
        release: () => {
          if (isHeld) release(epoch)
          isHeld = false
        },
      }
    },
  }
}
