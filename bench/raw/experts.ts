// The engine's expert layer as an expert worker runs it, over more experts than any cache holds: every call touches a few,
// the next call the next ones. With one row it reads memory, with 64 it multiplies.

import { computeExperts, packExpert, placeExpert, type PlacedExpert } from '../../lib/compute/expert-layer.js'
import { createKernels, type Kernels } from '../../lib/compute/kernels.js'
import type { WeightFormat } from '../../lib/model/spec.js'
import { summarise } from '../statistics.js'
import { pseudoRandom, type ProductSpeed } from './products.js'
import { inOneGo } from '../../lib/compute/steps.js'

const HIDDEN = 1024
const INTERMEDIATE = 512
const WEIGHTS = 3 * HIDDEN * INTERMEDIATE // of one expert: gate, up, down
const PER_CALL = 4 // experts that a call touches, as top-4 of one row
const BATCH_EXPERTS = 64 // of a measurement with several rows: enough to be timed, each from memory

/** `weightBytes` are those of all experts together. */
export type ExpertSpeed = ProductSpeed

export interface ExpertOptions {
  readonly formats: readonly WeightFormat[]
  readonly rows: readonly number[]
  readonly threadCounts: readonly number[]
  readonly leastBytes: number // of weights
  readonly repetitions: number
}

export async function measureExperts(options: ExpertOptions): Promise<ExpertSpeed[]> {
  const results: ExpertSpeed[] = []
  for (const threads of options.threadCounts) {
    const kernels = createKernels(threads)
    for (const format of options.formats) results.push(...measureFormat(kernels, format, options))
    await kernels.dispose()
  }
  return results
}

function measureFormat(kernels: Kernels, format: WeightFormat, options: ExpertOptions): ExpertSpeed[] {
  const before = kernels.usedBytes
  const experts = placeExperts(kernels, format, options.leastBytes)
  const weightBytes = kernels.usedBytes - before
  try {
    return options.rows.map((rows) => {
      const perRun = rows === 1 ? experts.length : BATCH_EXPERTS
      const milliseconds = time(kernels, { experts, perRun, rows }, options.repetitions)
      const operations = 2 * perRun * rows * WEIGHTS
      const bytes = (weightBytes / experts.length) * perRun
      return {
        format,
        rows,
        threads: kernels.threads,
        weightBytes,
        gigaflops: summarise(milliseconds.map((ms) => operations / ms / 1e6)),
        weightGigabytesPerSecond: summarise(milliseconds.map((ms) => bytes / ms / 1e6)),
      }
    })
  } finally {
    for (const expert of experts) expert.dispose()
  }
}

/** Copies of one expert, each in a place of its own, until they take that many bytes. */
function placeExperts(kernels: Kernels, format: WeightFormat, leastBytes: number): PlacedExpert[] {
  const values = pseudoRandom(WEIGHTS)
  const [gate, up, down] = [0, 1, 2].map((i) => values.subarray((i * WEIGHTS) / 3, ((i + 1) * WEIGHTS) / 3))
  const weights = {
    gate: { weights: gate ?? values, inputs: HIDDEN, outputs: INTERMEDIATE },
    up: { weights: up ?? values, inputs: HIDDEN, outputs: INTERMEDIATE },
    down: { weights: down ?? values, inputs: INTERMEDIATE, outputs: HIDDEN },
  }
  const set = inOneGo(packExpert('e', weights, format))
  const before = kernels.usedBytes
  const experts: PlacedExpert[] = []
  while (kernels.usedBytes - before < leastBytes || experts.length % PER_CALL !== 0) {
    experts.push(placeExpert(kernels, set, 'e'))
  }
  return experts
}

interface Run {
  readonly experts: readonly PlacedExpert[]
  readonly perRun: number // experts touched in one measurement
  readonly rows: number // of each
}

/** Milliseconds per measurement; each goes on where the one before has ended. */
function time(kernels: Kernels, { experts, perRun, rows }: Run, repetitions: number): number[] {
  const work = workOf(rows)
  const milliseconds: number[] = []
  let next = 0
  for (let repetition = 0; repetition <= repetitions; repetition++) {
    const started = performance.now()
    for (let done = 0; done < perRun; done += PER_CALL) {
      const touched = experts.slice(next, next + PER_CALL)
      computeExperts(kernels, { ...work, calls: touched.map((expert) => ({ expert, ...work.entries })) })
      next = (next + PER_CALL) % experts.length
    }
    if (repetition > 0) milliseconds.push(performance.now() - started) // the first warms up
  }
  return milliseconds
}

/** Every row goes through every expert of the call. */
function workOf(rows: number) {
  const places = Array.from({ length: rows }, (_, row) => row)
  const x = pseudoRandom(rows * HIDDEN)
  return {
    input: { isRounded: false, numRows: rows, bytes: new Uint8Array(x.buffer) },
    hidden: HIDDEN,
    entries: { rows: places, weights: places.map(() => 1 / PER_CALL) },
    sums: places.map((row) => Array.from({ length: PER_CALL }, (_, call) => call * rows + row)),
  }
}
