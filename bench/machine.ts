// What a reader needs to know about the machine and the code that a result was measured with.

import { execFileSync } from 'node:child_process'
import { cpus, loadavg, totalmem } from 'node:os'
import { packageRoot } from '../lib/package-files.js'

export interface Machine {
  readonly processor: string
  readonly cores: number
  readonly memoryBytes: number
  readonly load: number // processes that wanted to run, average of the minute before
  readonly node: string
  readonly commit: string // with `+` where the working tree differs from it
  readonly date: string
}

export const describeMachine = (): Machine => ({
  processor: cpus()[0]?.model ?? 'unknown processor',
  cores: cpus().length,
  memoryBytes: totalmem(),
  load: loadavg()[0] ?? 0,
  node: process.version,
  commit: commit(),
  date: new Date().toISOString().slice(0, 10),
})

/** One line for the head of a section; `versions` names what else took part, e.g. `onnxruntime 1.30.0`. */
export function machineLine(machine: Machine, versions: readonly string[] = []): string {
  const memory = `${Math.round(machine.memoryBytes / 2 ** 30)} GiB`
  const load = `load ${machine.load.toFixed(1)} before`
  const parts = [machine.processor, `${machine.cores} cores`, memory, load, `Node ${machine.node}`, ...versions]
  return `${[...parts, `commit ${machine.commit}`, machine.date].join(', ')}.`
}

function commit(): string {
  const git = (...words: string[]): string =>
    execFileSync('git', words, { cwd: packageRoot(), encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim()
  try {
    const others = git('status', '--porcelain', '-uno', '--', '.', ':!bench/RESULTS.md') // that file is what benches write
    return git('rev-parse', '--short', 'HEAD') + (others === '' ? '' : '+')
  } catch {
    return 'unknown' // an unpacked archive has no history
  }
}
