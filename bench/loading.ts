// `npm run bench:loading`: what a worker's memory reaches while it loads, against what it keeps.
//
// Invariants
//   L1  Each measurement has a process of its own: nothing of an earlier load is counted.
//   L2  Memory is read from outside, so that a load which never yields is seen too.
//   L3  The young generation of the JavaScript heap is in memory before: it is the process's, whatever it does.

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { createKernels } from '../lib/compute/kernels.js'
import { createWeightStore } from '../lib/compute/weight-store.js'
import { loadAttentionModel } from '../lib/decode/attention-model.js'
import { createExpertStore } from '../lib/decode/expert-store.js'
import { openModel } from '../lib/model/checkpoint.js'
import { sizeOf } from '../lib/model/stored-tensor.js'
import type { WeightFormat } from '../lib/model/spec.js'
import { WEIGHT_FORMATS } from '../lib/model/weight-formats.js'
import { describeMachine, machineLine } from './machine.js'
import { residentMemory } from './peers/resident-memory.js'
import { table, writeSection } from './report.js'
import { SYNTHETIC_SHAPES, writeSyntheticCheckpoint } from './synthetic.js'

const ROLES = ['expert-worker', 'attention', 'one process']

const USAGE = `usage: npm run bench:loading -- [flags]
  --size 0.4       of the synthetic checkpoint: ${Object.keys(SYNTHETIC_SHAPES).join(', ')}
  --model PATH     instead of a synthetic one
  --roles LIST     all unless given: ${ROLES.join(',')}
  --formats LIST   weight formats, all unless given: ${WEIGHT_FORMATS.join(',')}
  --json           prints the results as JSON and leaves bench/RESULTS.md alone`

const { values: flags } = parseArgs({
  options: {
    size: { type: 'string', default: '0.4' },
    model: { type: 'string' },
    roles: { type: 'string', default: ROLES.join() },
    formats: { type: 'string', default: WEIGHT_FORMATS.join() },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
    load: { type: 'string' }, // the measured process: role, format, cache folder or 'off'
  },
})

const CACHES = ['off', 'empty', 'full'] as const // of converted weights
/** Formats that are measured with each kind of cache; others without one. */
const CACHED: readonly string[] = ['int8', 'f32']
const SAMPLE_MS = 2
const GOAL = 1.15

interface Loaded {
  readonly keptBytes: number
  readonly matrixBytes: number // the largest that it reads, in float32
  readonly tookMs: number
}

interface Measured extends Loaded {
  readonly role: string
  readonly format: string
  readonly cache: string
  readonly peakBytes: number // anonymous, beyond what the process had before
}

/** Loads in this process, telling its parent when it begins. */
async function load(model: string, role: string, format: WeightFormat, cache: string): Promise<Loaded> {
  const checkpoint = await openModel(model)
  const { spec } = checkpoint
  const kernels = createKernels(1)
  const weights = createWeightStore(cache === 'off' ? undefined : cache)
  const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  const begin = (): number => (process.send?.('begin'), performance.now())
  const largest = (refs: readonly { readonly shape: readonly number[] }[]): number =>
    Math.max(...refs.map(({ shape }) => sizeOf(shape) * 4))
  touchYoungGeneration()
  await new Promise((resolve) => setTimeout(resolve, 100)) // its parent looks what it has before
  const started = begin()
  const keptBefore = kernels.usedBytes
  if (role !== 'expert-worker') await loadAttentionModel(checkpoint, { format, kernels, weights, turn })
  if (role !== 'attention') {
    const store = createExpertStore({ checkpoint, format, kernels, weights, turn })
    const numShards = role === 'one process' ? store.plan.numShards : store.plan.numShards / 2 // of two workers, one
    await store.place([...Array(numShards).keys()])
  }
  const experts = spec.layers.flatMap(({ ffn }) => ffn.experts.flatMap(({ gate, down }) => [gate.weight, down.weight]))
  return {
    keptBytes: kernels.usedBytes - keptBefore,
    matrixBytes: largest(role === 'expert-worker' ? experts : [spec.lmHead.weight]),
    tookMs: performance.now() - started,
  }
}

function touchYoungGeneration(): void {
  let last: readonly number[] = []
  for (let i = 0; i < 4_000_000; i++) last = [i, ...last.slice(0, 1)]
}

/** Runs a load in a process of its own and watches its anonymous memory. */
function measure(model: string, role: string, format: string, cache: string, folder: string): Promise<Measured> {
  const words = ['--model', model, '--load', [role, format, cache === 'off' ? 'off' : folder].join()]
  const child = spawn(process.execPath, [import.meta.filename, ...words], {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const anonymous = (): number => residentMemory([child.pid ?? 0]).anonymousBytes
  let [before, peak] = [0, 0]
  const sampler = setInterval(() => (peak = Math.max(peak, anonymous())), SAMPLE_MS)
  return new Promise((resolve, reject) => {
    child.on('message', (message) => {
      if (message === 'begin') before = anonymous()
      else resolve({ ...(message as Loaded), role, format, cache, peakBytes: peak - before }) // what `load` returns
    })
    child.on('exit', (code) => {
      clearInterval(sampler)
      if (code !== 0) reject(new Error(`loading ${role} ${format} ended with ${code}`))
    })
  })
}

const megabytes = (bytes: number): string => (bytes / 1e6).toFixed(1)
const share = ({ peakBytes, keptBytes, matrixBytes }: Measured): number => (peakBytes - matrixBytes) / keptBytes

async function main(): Promise<void> {
  const machine = describeMachine()
  const folder = mkdtempSync(join(tmpdir(), 'banyan-loading-'))
  try {
    const model = flags.model ?? join(folder, 'model')
    const shape = SYNTHETIC_SHAPES[flags.size]
    if (flags.model === undefined && shape !== undefined) writeSyntheticCheckpoint(model, shape, 1)
    const results: Measured[] = []
    for (const role of flags.roles.split(',')) {
      for (const format of flags.formats.split(',')) {
        for (const cache of flags.model === undefined && CACHED.includes(format) ? CACHES : (['off'] as const))
          results.push(await measure(model, role, format, cache, join(folder, `${role}-${format}`)))
      }
    }
    if (flags.json) return void process.stdout.write(`${JSON.stringify(results, null, 2)}\n`)
    const rows = results.map((each) => [
      each.role,
      each.format,
      each.cache,
      megabytes(each.keptBytes),
      megabytes(each.matrixBytes),
      megabytes(each.peakBytes),
      share(each).toFixed(2),
      share(each) <= GOAL ? 'met' : 'missed',
      (each.tookMs / 1000).toFixed(2),
    ])
    const head = [
      'worker',
      'weights',
      'cache of converted weights',
      'keeps, MB',
      'one matrix',
      'peak',
      '(peak − matrix) / keeps',
      'goal',
      's',
    ]
    writeSection(
      'loading',
      [
        '## Memory while loading',
        `\`npm run bench:loading\`. ${machineLine(machine)} ${INTRODUCTION}`,
        table(head, rows),
      ].join('\n\n'),
    )
  } finally {
    rmSync(folder, { recursive: true, force: true })
  }
}

const INTRODUCTION = `The synthetic checkpoint (BF16); one of two expert workers, an attention worker, and all in one process. Peak: anonymous resident memory, looked at every ${SAMPLE_MS} ms from outside, less what the process had before it read a weight. One matrix: the largest that is read, in float32. Goal: the peak is at most ${GOAL} × what the worker keeps and one matrix.`

const isFormat = (word: string): word is WeightFormat => WEIGHT_FORMATS.some((format) => format === word)

if (flags.help) process.stdout.write(`${USAGE}\n`)
else if (flags.load === undefined) await main()
else {
  const [role = '', format = '', cache = 'off'] = flags.load.split(',')
  if (!isFormat(format)) throw new Error(`want a weight format, got ${format}`)
  process.send?.(await load(flags.model ?? '', role, format, cache))
  process.exit(0)
}
