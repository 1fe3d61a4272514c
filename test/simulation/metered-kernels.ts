// The real engine, shared by all simulated processes of this one. It knows whose event happens: that machine is charged
// with the time of what runs, and owns the memory that is allocated, so that a killed process leaves nothing behind.

import { sharedKernels, type Kernels } from '../../lib/compute/kernels.js'
import type { Machine } from './machine.js'

const TASK_MS = 0.1 // of virtual time: a step takes as long as one of a model of some size

export interface MeteredKernels {
  readonly kernels: Kernels
  /** Whose event happens from now on. */
  enter(this: void, machine: Machine | undefined): void
  heldBytes(machine: Machine): number
  /** Takes back what a dead machine held. */
  reclaim(machine: Machine): void
}

export function createMeteredKernels(): MeteredKernels {
  const real = sharedKernels(1)
  const held = new Map<Machine, Map<number, number>>() // address → bytes
  const owners = new Map<number, Machine>()
  const isUnowned = new Set<number>()
  let current: Machine | undefined

  const forget = (address: number): void => {
    const owner = owners.get(address)
    owners.delete(address)
    if (owner !== undefined) held.get(owner)?.delete(address)
  }

  return {
    kernels: {
      ...real,
      get usedBytes() {
        return real.usedBytes
      },
      get freeBytes() {
        return real.freeBytes
      },
      allocate: (numBytes) => {
        const address = real.allocate(numBytes)
        if (current === undefined) {
          isUnowned.add(address)
          return address
        }
        const mine = held.get(current) ?? new Map<number, number>()
        held.set(current, mine.set(address, numBytes))
        owners.set(address, current)
        return address
      },
      release: (address) => {
        if (!owners.has(address) && !isUnowned.delete(address)) throw new Error(`address ${address} is released twice`)
        forget(address)
        real.release(address)
      },
      run: (write) => {
        const numTasks = real.run(write)
        current?.compute(TASK_MS * numTasks)
        return numTasks
      },
    },
    enter: (machine) => {
      current = machine
    },
    heldBytes: (machine) => [...(held.get(machine)?.values() ?? [])].reduce((sum, bytes) => sum + bytes, 0),
    reclaim: (machine) => {
      for (const address of [...(held.get(machine)?.keys() ?? [])]) {
        forget(address)
        real.release(address)
      }
      held.delete(machine)
    },
  }
}
