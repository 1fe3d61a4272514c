// `npm run bench:frames`: what the frames of each version weigh, and what it takes to write and read them.
//
// Invariants
//   B1  The versions take turns within a round: their ratio is of the same minute of this machine.

import { parseArgs } from 'node:util'
import { decodeFrame, encodeFrame, type Frame } from '../lib/wire/frame.js'
import type { Message } from '../lib/wire/messages.js'
import { packF32, packI32, packQ16, q16RowBytes } from '../lib/wire/tensor.js'
import { KNOWN_VERSIONS } from '../lib/wire/versions.js'
import { inTurn } from './in-turn.js'
import { describeMachine, machineLine } from './machine.js'
import { table, writeSection } from './report.js'
import { formatMedian, formatNumber, median, ratios } from './statistics.js'

const USAGE = `usage: npm run bench:frames -- [flags]
  --rounds N  (default: 41)
  --json      prints the results as JSON and leaves bench/RESULTS.md alone`

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '41' },
    json: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})

const WIDTH = 2048
const ROUND_FRAMES = 400 // written and read per round and version
const VERSIONS = [1, 2] as const

const numbers = (count: number): number[] => Array.from({ length: count }, (_, i) => i)

/** A layer's rows to one of two expert workers, top 8 of 64 experts. */
function compute(rows: number): Message {
  const experts = Math.min(32, rows * 4)
  const perExpert = (rows * 4) / experts
  return {
    kind: 'expert.compute',
    step: 'router-0-4711',
    layer: 17,
    hidden: packQ16(new Uint8Array(rows * q16RowBytes(WIDTH)), rows, WIDTH),
    experts: packI32(numbers(experts)),
    counts: packI32(numbers(experts).map(() => perExpert)),
    rows: packI32(numbers(experts * perExpert).map((i) => i % rows)),
    weights: packF32(new Float32Array(experts * perExpert)),
  }
}

const output = (rows: number): Message => ({
  kind: 'expert.output',
  step: 'router-0-4711',
  layer: 17,
  partials: packF32(new Float32Array(rows * WIDTH), [rows, WIDTH]),
  computeMs: 1.25,
})

/** Of sequences that decode, each with a tree of so many nodes. */
const step = (sequences: number, nodes: number): Message => ({
  kind: 'attention.step',
  step: 'router-0-4711',
  owner: { router: 'router-0', incarnation: '0b1f6c0e-6b1b-4b3e-9d0b-0f8f9a1d2c3e' },
  tableEpoch: 3,
  replicas: numbers(16).map((shard) => [`expert-worker-${shard % 2}`]),
  entries: numbers(sequences).map((i) => ({
    sequence: `router-0-chatcmpl-${i}-0`,
    epoch: 100 + i,
    base: 400 + i,
    accepted: packI32([0]),
    tokens: packI32(numbers(nodes)),
    parents: packI32(numbers(nodes).map((node) => node - 1)),
    sampled: packI32(numbers(nodes)),
  })),
  release: [],
  withLogits: false,
})

const sampled = (sequences: number, nodes: number): Message => ({
  kind: 'attention.sampled',
  step: 'router-0-4711',
  entries: numbers(sequences).map((i) => ({
    sequence: `router-0-chatcmpl-${i}-0`,
    epoch: 100 + i,
    tokens: packI32(numbers(nodes)),
    logprobs: [],
  })),
  expertCalls: 96,
  distinctExperts: 412,
  computeMs: 21.5,
  attentionMs: 8.25,
  expertWaitMs: 11.5,
  expertComputeMs: 9.75,
  headMs: 1.5,
})

const trees = (sequences: number, nodes: number): Message => ({
  kind: 'draft.trees',
  step: 'router-0-4711',
  sources: ['prompt-lookup', 'suffix', 'ngram'],
  computeMs: 0.75,
  entries: numbers(sequences).map((i) => ({
    sequence: `router-0-chatcmpl-${i}-0`,
    resend: false,
    tokens: packI32(numbers(nodes)),
    parents: packI32(numbers(nodes).map((node) => node - 1)),
    values: packF32(new Float32Array(nodes)),
    sources: packI32(numbers(nodes)),
  })),
})

const MESSAGES: readonly (readonly [string, Message])[] = [
  ['`expert.compute`, 1 row', compute(1)],
  ['`expert.compute`, 16 rows', compute(16)],
  ['`expert.output`, 1 row', output(1)],
  ['`expert.output`, 16 rows', output(16)],
  ['`attention.step`, 1 sequence', step(1, 1)],
  ['`attention.step`, 16 trees of 8', step(16, 8)],
  ['`attention.sampled`, 1 sequence', sampled(1, 1)],
  ['`attention.sampled`, 16 trees of 8', sampled(16, 8)],
  ['`draft.trees`, 16 trees of 8', trees(16, 8)],
]

const frameOf = (version: number, message: Message): Frame => ({
  version,
  speaks: KNOWN_VERSIONS,
  envelope: { id: 'attention-0-5k1x', from: 'attention-0', timeoutMs: 60_000, epoch: 3, traceparent: undefined },
  message,
})

interface Row {
  readonly name: string
  readonly bytes: readonly number[] // by version
  readonly microseconds: readonly (readonly number[])[] // by version, one per round: written and read once
}

function measure(name: string, message: Message, rounds: number): Row {
  const frames = VERSIONS.map((version) => frameOf(version, message))
  const microseconds = frames.map((): number[] => [])
  for (let round = -2; round < rounds; round++) {
    for (const [i, frame] of inTurn(round, [...frames.entries()])) {
      const startMs = performance.now()
      for (let n = 0; n < ROUND_FRAMES; n++) decodeFrame(encodeFrame(frame))
      const tookMs = performance.now() - startMs
      if (round >= 0) microseconds[i]?.push((tookMs * 1000) / ROUND_FRAMES) // the first rounds warm up
    }
  }
  return { name, bytes: frames.map((frame) => encodeFrame(frame).length), microseconds }
}

function section(rows: readonly Row[], machine: string): string {
  return [
    '## Frames of both versions',
    '',
    `\`npm run bench:frames\`. ${machine} Width ${WIDTH}, 8 of 64 experts, two workers. Time: written and read once, median [95 % interval] of ${rows[0]?.microseconds[0]?.length} rounds of ${ROUND_FRAMES} in which the versions take turns; the ratio is of each round.`,
    '',
    table(
      ['message', 'bytes, v1', 'v2', 'saved', 'µs, v1', 'v2', 'v2 / v1'],
      rows.map(({ name, bytes: [one = 0, two = 0], microseconds: [first = [], second = []] }) => [
        name,
        `${one}`,
        `${two}`,
        `${one - two} (${formatNumber(((one - two) / one) * 100)} %)`,
        formatNumber(median(first)),
        formatNumber(median(second)),
        formatMedian(ratios(second, first)),
      ]),
    ),
  ].join('\n')
}

function main(): void {
  const machine = describeMachine() // before: its load is the others’
  const rows = MESSAGES.map(([name, message]) => measure(name, message, Number(flags.rounds)))
  if (flags.json) return console.log(JSON.stringify({ machine, rows }))
  const text = section(rows, machineLine(machine))
  writeSection('frames', text)
  console.log(text)
}

if (flags.help) console.log(USAGE)
else main()
