// The kernels' exports as functions, and what a helper thread is started with.

import { ClusterError } from '../errors.js'
import { bindKernels, type WideKernels } from './machine-code/wide-kernels.js'

/** Words of the engine's memory that threads share, beside those of `kernels/`. */
export const LIMIT_WORD = 0
export const ACTIVE_WORD = 50 // helpers that may compute
export const NUMBER_WORD = 64 // from here on each thread's number, once it runs

export interface KernelThreadData {
  readonly module: WebAssembly.Module
  readonly memory: WebAssembly.Memory
  readonly spins: number
  readonly thread: number
  readonly wide: WideKernels
}

export interface KernelInstance {
  /** Computes tasks until none is left. */
  readonly work: () => void
  /** Looks up to `spins` times whether the limit differs from `seen`. */
  readonly spinLimit: (seen: number, spins: number) => boolean
  /** Looks up to `spins` times whether all tasks are done. */
  readonly spinDone: (spins: number) => boolean
}

/** Instantiates the compiled kernels over a memory. Throws `internal` where they are not what this build expects. */
export function instantiate({ module, memory, thread, wide }: Omit<KernelThreadData, 'spins'>): KernelInstance {
  const { exports } = new WebAssembly.Instance(module, { env: { memory, wide: bindKernels(wide) } })
  const { work, spinLimit, spinDone, setThread } = exports
  if (work === undefined || spinLimit === undefined || spinDone === undefined || setThread === undefined) {
    throw new ClusterError('internal', `kernels: want work, spinLimit and spinDone, got ${Object.keys(exports).join()}`)
  }
  setThread(thread)
  return {
    work: () => void work(),
    spinLimit: (seen, spins) => spinLimit(seen, spins) === 1,
    spinDone: (spins) => spinDone(spins) === 1,
  }
}
