// A disk in memory that loses, at a crash, any part of what was not synced; and fails when told.

import type { Disk, DiskFile } from '../../lib/transport/disk.js'

interface Inode {
  bytes: Buffer // as the processes see it
  durable: Buffer // as a crash leaves it, at least
}

export interface SimulatedDisk extends Disk {
  /** The machine stops: of each write and rename that was not synced a random part is left. */
  crash(random: () => number): void
  /** Called before each operation; what it throws fails the operation. A write may first do `numBytes` of its work. */
  fault: (operation: 'write' | 'sync' | 'truncate' | 'rename' | 'folder', fileName: string) => Fault | undefined
  readonly files: ReadonlyMap<string, Uint8Array>
}

export interface Fault {
  readonly error: Error
  readonly numBytes?: number
}

export const diskError = (code: string): Error => Object.assign(new Error(`${code}: simulated`), { code })

const realTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** `turn`: what an operation on a file waits for before it happens. */
export function createSimulatedDisk(turn: () => Promise<void> = realTurn): SimulatedDisk {
  let names = new Map<string, Inode>()
  let durableNames = new Map<string, Inode>()
  let crashes = 0

  const file = (name: string, inode: Inode): DiskFile => {
    const born = crashes
    const begin = async (operation: Parameters<SimulatedDisk['fault']>[0]): Promise<Fault | undefined> => {
      await turn()
      if (born !== crashes) throw diskError('EIO') // of a process that is gone
      return disk.fault(operation, name)
    }
    return {
      write: async (bytes, position) => {
        const fault = await begin('write')
        const part = fault === undefined ? bytes : bytes.subarray(0, fault.numBytes ?? 0)
        const length = Math.max(inode.bytes.length, position + part.byteLength)
        const next = Buffer.alloc(length)
        inode.bytes.copy(next)
        next.set(part, position)
        if (part.byteLength > 0) inode.bytes = next
        if (fault !== undefined) throw fault.error
      },
      sync: async () => {
        const fault = await begin('sync')
        if (fault !== undefined) throw fault.error
        inode.durable = Buffer.from(inode.bytes)
      },
      truncate: async (length) => {
        const fault = await begin('truncate')
        if (fault !== undefined) throw fault.error
        inode.bytes = Buffer.from(inode.bytes.subarray(0, length))
      },
      close: () => Promise.resolve(),
    }
  }

  const disk: SimulatedDisk = {
    fault: () => undefined,
    get files() {
      return new Map([...names].map(([name, { bytes }]) => [name, bytes]))
    },
    read: async (name) => {
      const inode = names.get(name)
      return inode === undefined ? undefined : Uint8Array.from(inode.bytes)
    },
    open: async (name) => {
      const inode = names.get(name) ?? { bytes: Buffer.alloc(0), durable: Buffer.alloc(0) }
      names.set(name, inode)
      return file(name, inode)
    },
    rename: async (from, to) => {
      const fault = disk.fault('rename', from)
      if (fault !== undefined) throw fault.error
      const inode = names.get(from)
      if (inode === undefined) throw diskError('ENOENT')
      names.delete(from)
      names.set(to, inode)
    },
    remove: async (name) => void names.delete(name),
    sync: async () => {
      const fault = disk.fault('folder', '')
      if (fault !== undefined) throw fault.error
      durableNames = new Map(names)
    },
    crash: (random) => {
      crashes += 1
      if (random() < 0.5) names = new Map(durableNames)
      durableNames = new Map(names)
      for (const inode of names.values()) {
        inode.bytes = leftOf(inode, random)
        inode.durable = Buffer.from(inode.bytes)
      }
    },
  }
  return disk
}

/** The seen length, or some between the synced one and it; the bytes that differ are there, zero or torn. */
function leftOf({ bytes, durable }: Inode, random: () => number): Buffer {
  const [least, most] = [Math.min(bytes.length, durable.length), Math.max(bytes.length, durable.length)]
  const left = Buffer.alloc(random() < 0.5 ? bytes.length : least + Math.floor(random() * (most - least + 1)))
  const from = random() < 0.5 ? 0 : least
  const written = random() < 0.3 ? 0 : from + Math.floor(random() * (bytes.length - from + 1))
  durable.copy(left)
  bytes.copy(left, 0, 0, Math.min(written, left.length))
  return left
}
