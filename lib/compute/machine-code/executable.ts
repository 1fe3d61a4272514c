// Machine code in this process: memory that may be executed, and its functions as functions of JavaScript.
//
// Invariants
//   X1  Memory is writable or executable, never both.

import { ClusterError } from '../../errors.js'
import { foreignInterface, type Foreign, type ForeignType } from '../foreign.js'

const PROTECTION = { write: 3, execute: 5 } as const // PROT_READ with PROT_WRITE or PROT_EXEC
const RETURN = Uint8Array.of(0xc3)
const PRIVATE_ANONYMOUS = 0x22 // Linux: MAP_PRIVATE | MAP_ANONYMOUS

let isAllowed: boolean | undefined

/** Whether machine code can be run in this process; some systems forbid it. */
export const canExecute = (): boolean => (isAllowed ??= tryToPlaceCode())

function tryToPlaceCode(): boolean {
  try {
    placeCode(RETURN)
    return true
  } catch {
    return false // the one question; what cannot be done is done by WebAssembly
  }
}

function required(): Foreign {
  const loaded = foreignInterface()
  if (loaded === undefined) throw new ClusterError('internal', 'machine code: koffi has no binary for this system')
  return loaded
}

/** The address of a buffer's first byte. */
export const addressOf = (buffer: ArrayBufferLike): bigint => required().address(new Uint8Array(buffer))

/** Copies code into executable memory of its own, which stays for the life of the process; returns its address. */
export function placeCode(code: Uint8Array): bigint {
  const libc = required().load(null)
  const mmap = libc.func('void *mmap(void *address, size_t length, int protection, int flags, int file, long offset)')
  const memcpy = libc.func('void *memcpy(void *to, const void *from, size_t length)')
  const mprotect = libc.func('int mprotect(void *address, size_t length, int protection)')
  const address = mmap(null, code.length, PROTECTION.write, PRIVATE_ANONYMOUS, -1, 0) as bigint
  if (BigInt.asIntN(64, address) === -1n) throw new ClusterError('resource_exhausted', 'machine code: mmap failed')
  memcpy(address, code, code.length)
  if (mprotect(address, code.length, PROTECTION.execute) !== 0) {
    throw new ClusterError('internal', 'machine code: the system does not let this process run code of its own')
  }
  return address
}

const HUGE_PAGES = 14 // Linux: MADV_HUGEPAGE

/** Asks for large pages where a buffer is not yet touched: reading weights at random misses fewer translations. */
export function preferHugePages(buffer: ArrayBufferLike, from: number): void {
  if (process.platform !== 'linux' || from >= buffer.byteLength) return
  const madvise = foreignInterface()?.load(null).func('int madvise(void *address, size_t length, int advice)')
  madvise?.(addressOf(buffer) + BigInt(from), buffer.byteLength - from, HUGE_PAGES) // refused: nothing is lost
}

/** The `void function(uint32_t, uint32_t)` at an address. */
export function functionAt(address: bigint): (first: number, second: number) => void {
  const { decode, load, proto } = required()
  if (task === undefined) {
    load(null) // the package makes room for a thread's calls when something is loaded there, and not before
    task = proto('void task(uint32_t, uint32_t)')
  }
  return decode(address, task) as (first: number, second: number) => void
}

let task: ForeignType | undefined // of this thread
