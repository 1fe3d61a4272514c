// The means that make Banyan fast, each with the flags of a cluster that has it and of one that has not. Another means is
// another record.

import { join } from 'node:path'
import { packageRoot } from '../../lib/package-files.js'
import {
  answer,
  arrival,
  decode,
  decodeBehind,
  prefill,
  sharedPrefix,
  start,
  write,
  type Workload,
} from './workloads.js'

export interface Means {
  readonly name: string
  readonly what: string
  readonly on: readonly string[]
  readonly off: readonly string[]
  readonly workloads: readonly Workload[]
}

const WEIGHT_CACHE = join(packageRoot(), 'bench', '.cache', 'weights') // the warm-up round fills it

export const MEANS: readonly Means[] = [
  {
    name: 'machine-code',
    what: 'products and attention in code written for this processor; without, in WebAssembly',
    on: ['--machine-code', 'on'],
    off: ['--machine-code', 'off'],
    workloads: [decode(1), decode(16), prefill(512)],
  },
  {
    name: 'threads',
    what: 'two compute threads; without, one',
    on: ['--threads', '2'],
    off: ['--threads', '1'],
    workloads: [decode(1), decode(16), prefill(512)],
  },
  {
    name: 'batching',
    what: 'up to 16 sequences in a step; without, one request after the other',
    on: ['--max-running', '16'],
    off: ['--max-running', '1'],
    workloads: [answer(16)],
  },
  {
    name: 'drafts',
    what: 'tokens looked up in the text so far and verified in the same step',
    on: ['--draft', 'auto'],
    off: ['--draft', 'off'],
    workloads: [write(1), write(16)],
  },
  {
    name: 'prefix-cache',
    what: 'the KV of ended sequences serves requests with the same beginning',
    on: ['--prefix-cache', 'on'],
    off: ['--prefix-cache', 'off'],
    workloads: [sharedPrefix(1024)],
  },
  {
    name: 'chunks',
    what: 'prefill beside decoding is cut by the predicted time of a step; without, by the token budget alone',
    on: [],
    off: ['--step-target-ms', '600000'],
    workloads: [arrival],
  },
  {
    name: 'direct-links',
    what: 'a process per service, which send what they have to say directly; without, through the NATS server',
    on: ['--transport', 'nats'],
    off: ['--transport', 'nats', '--link-host', 'off'],
    workloads: [decode(1), decode(16)],
  },
  {
    name: 'micro-batches',
    what: 'two parts of a step take turns between attention and experts (off unless asked for); without, one',
    on: ['--transport', 'nats', '--micro-batches', '2'],
    off: ['--transport', 'nats', '--micro-batches', '1'],
    workloads: [decode(16), prefill(512)],
  },
  {
    name: 'kv-format',
    what: 'keys and values kept in half the memory (off unless asked for: other tokens); without, in float32',
    on: ['--kv-format', 'f16'],
    off: ['--kv-format', 'f32'],
    workloads: [decodeBehind(1024, 1), prefill(1536)],
  },
  {
    name: 'weight-cache',
    what: 'weights packed by an earlier start; without, packed anew',
    on: ['--weight-cache', WEIGHT_CACHE],
    off: ['--weight-cache', 'off'],
    workloads: [start],
  },
]

/** The means of these names in the order of the list; throws on a name that none has. */
export function chooseMeans(names: readonly string[], all: readonly Means[] = MEANS): readonly Means[] {
  const known = all.map(({ name }) => name)
  const stray = names.find((name) => !known.includes(name))
  if (stray !== undefined) throw new Error(`--only: want some of ${known.join()}, found ${stray}`)
  return all.filter(({ name }) => names.includes(name))
}
