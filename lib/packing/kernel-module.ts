// The compiled kernels (`kernels/`, AssemblyScript), once per process.

import { readFileSync } from 'node:fs'
import { setFlagsFromString } from 'node:v8'
import { builtFile } from '../package-files.js'

let compiled: WebAssembly.Module | undefined

/** Compiles at the first call, by the optimising compiler at once: the baseline one is several times slower. */
export function kernelModule(): WebAssembly.Module {
  if (compiled !== undefined) return compiled
  setFlagsFromString('--no-liftoff')
  compiled = new WebAssembly.Module(readFileSync(builtFile('kernels/kernels.wasm')))
  return compiled
}
