// Decides, where a process starts, which kernels keep a row's bits whatever the rows beside it, and names the device
// class by a hash over the probe's outputs: equal names, interchangeable workers.
//
// Invariants
//   D1  A kernel that differs only at one row is called with two (`minRows`); one that differs otherwise is not used.
//   D2  The name depends on the processor's arithmetic and the engine, not on thread count or load.

import { createHash } from 'node:crypto'
import { EXACT_BLOCK, tailSlots } from '../speculative/tail-layout.js'
import { depths } from '../speculative/token-tree.js'
import { ClusterError } from '../errors.js'
import type { WeightFormat } from '../model/spec.js'
import { createAttentionCore, type AttentionCore, type HeadGeometry } from './attention-core.js'
import { createExpertFfn } from './expert-ffn.js'
import { GraphBuilder } from './graph.js'
import { linear, rmsNorm, type LinearWeights } from './linear.js'
import { createSession, ENGINE_VERSION, type Session } from './session.js'

export type Exactness = 'exact' | 'exact-from-two-rows' | 'inexact'

export interface KernelReport {
  readonly kernel: string
  readonly exactness: Exactness
}

export interface DeviceReport {
  readonly deviceClass: string // e.g. 'cpu-1f3a…'
  readonly engine: string
  readonly kernels: readonly KernelReport[]
  /** Rows that a weight product is never called below. */
  readonly minRows: 1 | 2
}

const ROWS = 17
const SUBSETS: readonly (readonly [first: number, count: number])[] = [
  [0, 1],
  [9, 1],
  [0, 2],
  [5, 3],
  [0, 8],
  [8, 8],
]

/** A small deterministic generator (xorshift32): the probe's inputs are the same everywhere. */
export function probeValues(length: number, seed: number, scale = 1): Float32Array {
  const values = new Float32Array(length)
  let state = seed >>> 0 || 1
  for (let i = 0; i < length; i++) {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    values[i] = ((state >>> 0) / 2 ** 32 - 0.5) * scale
  }
  return values
}

const DEFAULT_GEOMETRY: readonly HeadGeometry[] = [
  { numHeads: 6, numKvHeads: 2, headDim: 32 },
  { numHeads: 4, numKvHeads: 4, headDim: 64 },
]

export interface ProbeOptions {
  readonly formats: readonly WeightFormat[]
  readonly geometries?: readonly HeadGeometry[]
  readonly threads?: number
}

/** Reports by options: the processor of a process does not change, so several workers in one process probe once. */
const reports = new Map<string, Promise<DeviceReport>>()

/** Runs every kernel in use on a fixed probe. Takes well under a second. */
export function probeDevice(options: ProbeOptions): Promise<DeviceReport> {
  const key = JSON.stringify(options)
  const report = reports.get(key) ?? runProbe(options)
  reports.set(key, report)
  return report
}

async function runProbe(options: ProbeOptions): Promise<DeviceReport> {
  const hash = createHash('sha256').update(ENGINE_VERSION)
  const kernels: KernelReport[] = []
  for (const format of ['f32', 'int8', 'int4'] as const) {
    const report = await probeFfn(format, options.threads ?? 1, hash)
    if (format === 'f32' || options.formats.includes(format)) kernels.push(report)
  }
  kernels.push(await probeNorm(hash))
  for (const geometry of DEFAULT_GEOMETRY) await probeAttention(geometry, hash)
  for (const geometry of options.geometries ?? DEFAULT_GEOMETRY) kernels.push(await probeAttention(geometry))
  const minRows = kernels.some((kernel) => kernel.exactness === 'exact-from-two-rows') ? 2 : 1
  return { deviceClass: `cpu-${hash.digest('hex').slice(0, 12)}`, engine: ENGINE_VERSION, kernels, minRows }
}

/** Throws `failed_precondition` naming the first kernel that cannot keep a row's bits on this processor. */
export function requireExact(report: DeviceReport): void {
  const broken = report.kernels.find((kernel) => kernel.exactness === 'inexact')
  if (broken !== undefined) {
    throw new ClusterError(
      'failed_precondition',
      `${broken.kernel}: want the same bits for a row at every batch size, got different ones on this processor; choose another --weights`,
    )
  }
}

function probeLinear(inputs: number, outputs: number, seed: number): LinearWeights {
  return { weights: probeValues(inputs * outputs, seed, 0.2), inputs, outputs }
}

async function probeFfn(
  format: WeightFormat,
  threads: number,
  hash: ReturnType<typeof createHash>,
): Promise<KernelReport> {
  const found: Exactness[] = []
  for (const [hidden, inner] of [
    [64, 48],
    [192, 192],
    [256, 1024],
  ] as const) {
    const ffn = await createExpertFfn(
      {
        gate: probeLinear(hidden, inner, 11),
        up: probeLinear(hidden, inner, 12),
        down: probeLinear(inner, hidden, 13),
      },
      format,
    )
    const wide = new GraphBuilder()
    const x = wide.input('x', ['rows', hidden])
    wide.output(linear(wide, x, probeLinear(hidden, 3 * hidden, 14), format), 'y', ['rows', 3 * hidden])
    const product = await createSession(wide.build('probe'), threads)
    found.push(await rowExactness(ffn, hidden, hash), await rowExactness(product, hidden, hash))
  }
  return { kernel: format === 'f32' ? 'MatMul f32' : `MatMulNBits ${format}`, exactness: worst(found) }
}

async function probeNorm(hash: ReturnType<typeof createHash>): Promise<KernelReport> {
  const found: Exactness[] = []
  for (const width of [16, 33, 192, 1000]) {
    const graph = new GraphBuilder()
    const x = graph.input('x', ['rows', width])
    graph.output(rmsNorm(graph, x, probeValues(width, 5), 1e-6), 'y', ['rows', width])
    found.push(await rowExactness(await createSession(graph.build('probe')), width, hash))
  }
  return { kernel: 'RMS norm', exactness: worst(found) }
}

const worst = (found: readonly Exactness[]): Exactness =>
  found.includes('inexact') ? 'inexact' : found.includes('exact-from-two-rows') ? 'exact-from-two-rows' : 'exact'

/** Compares the bits of rows run alone and in company; disposes the session. */
async function rowExactness(session: Session, width: number, hash: ReturnType<typeof createHash>): Promise<Exactness> {
  const x = probeValues(ROWS * width, 7, 4)
  const run = async (first: number, count: number): Promise<Float32Array> => {
    const { y } = await session.run({
      x: { data: x.subarray(first * width, (first + count) * width), dims: [count, width] },
    })
    return y ?? new Float32Array(0)
  }
  const all = await run(0, ROWS)
  const outputs = all.length / ROWS
  hash.update(new Uint8Array(all.buffer, all.byteOffset, all.byteLength))
  let result: Exactness = 'exact'
  for (const [first, count] of SUBSETS) {
    if (sameBits(await run(first, count), all.subarray(first * outputs, (first + count) * outputs))) continue
    result = worst([result, count === 1 ? 'exact-from-two-rows' : 'inexact'])
  }
  await session.dispose()
  return result
}

function sameBits(a: Float32Array, b: Float32Array): boolean {
  return (
    a.length === b.length &&
    Buffer.from(a.buffer, a.byteOffset, a.byteLength).equals(Buffer.from(b.buffer, b.byteOffset, b.byteLength))
  )
}

// A chain of five, then branches: siblings lie between the nodes of every path, and from the bases just below a block
// boundary the chain fills the block and the branches start in the next.
const TREE_PARENTS = [-1, 0, 1, 2, 3, 4, 4, 5, 5, 6, 7, 7, 8]
const PROBE_BASES = [1, 40, EXACT_BLOCK - 5, 2 * EXACT_BLOCK - 5, 3 * EXACT_BLOCK]

/** Every node of a tree against plain decoding of its path, around block boundaries and in short contexts. */
async function probeAttention(geometry: HeadGeometry, hash?: ReturnType<typeof createHash>): Promise<KernelReport> {
  const core = await createAttentionCore(geometry)
  let isExact = true
  for (const base of PROBE_BASES) {
    const probe = createAttentionProbe(core, geometry, base)
    const { tree, paths } = await probe()
    hash?.update(new Uint8Array(tree.buffer, tree.byteOffset, tree.byteLength))
    isExact &&= sameBits(tree, paths)
  }
  await core.dispose()
  const { numHeads, numKvHeads, headDim } = geometry
  return {
    kernel: `tree attention, ${numHeads} heads on ${numKvHeads} of width ${headDim}`,
    exactness: isExact ? 'exact' : 'inexact',
  }
}

function createAttentionProbe(core: AttentionCore, geometry: HeadGeometry, base: number) {
  const { numHeads, numKvHeads, headDim } = geometry
  const nodeDepths = depths({ tokens: TREE_PARENTS.map((_, i) => i), parents: TREE_PARENTS })
  const slots = tailSlots(base, nodeDepths)
  const numSlots = Math.max(...slots) + 1
  const perHead = (width: number, seed: number): Float32Array[] =>
    Array.from({ length: numKvHeads }, (_, head) => probeValues(numSlots * width, seed + head, 2))
  const keys = perHead(headDim, 31)
  const values = perHead(headDim + 1, 57)
  for (const value of values) for (let slot = 0; slot < numSlots; slot++) value[slot * (headDim + 1) + headDim] = 1
  const width = numHeads * headDim
  const q = probeValues(TREE_PARENTS.length * width, 91, 4)
  const pathOf = (node: number): number[] => (node < 0 ? [] : [...pathOf(TREE_PARENTS[node] ?? -1), node])

  return async (): Promise<{ tree: Float32Array; paths: Float32Array }> => {
    const mask = new Float32Array(TREE_PARENTS.length * numSlots).fill(-Infinity)
    TREE_PARENTS.forEach((_, node) => {
      mask.fill(0, node * numSlots, node * numSlots + base)
      for (const ancestor of pathOf(node)) mask[node * numSlots + (slots[ancestor] ?? 0)] = 0
    })
    const tree = await core.attend({ rows: TREE_PARENTS.length, slots: numSlots, q, mask, keys, values })
    const paths = new Float32Array(tree.length)
    for (let node = 0; node < TREE_PARENTS.length; node++) {
      const path = pathOf(node)
      const length = base + path.length
      const gather = (source: Float32Array, w: number): Float32Array => {
        const plain = new Float32Array(length * w)
        plain.set(source.subarray(0, base * w))
        path.forEach((step, i) => {
          const slot = slots[step] ?? 0
          plain.set(source.subarray(slot * w, (slot + 1) * w), (base + i) * w)
        })
        return plain
      }
      const alone = await core.attend({
        rows: 1,
        slots: length,
        q: q.subarray(node * width, (node + 1) * width),
        mask: new Float32Array(length),
        keys: keys.map((key) => gather(key, headDim)),
        values: values.map((value) => gather(value, headDim + 1)),
      })
      paths.set(alone, node * width)
    }
    return { tree, paths }
  }
}
