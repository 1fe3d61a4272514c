// Rows of a running step on a device: what all layers share is uploaded once, h stays there from layer to layer.
//
// Invariants
//   B1  A run writes h where no input of it lies: two tensors take turns.
//   B2  Nothing of a batch stays on the device after its last layer, or after `close` where it does not come so far.

import type { DeviceRun } from '../compute/gpu/attention-runs.js'
import { GraphBuilder, type BuiltGraph } from '../compute/graph.js'
import type { Kernels } from '../compute/kernels.js'
import { addRounding, roundedBytes } from '../compute/placed-linear.js'
import type { Room } from '../compute/room.js'
import { sumOf } from '../compute/sum-of.js'
import {
  createSession,
  type DeviceTensor,
  type Kept,
  type Matrix,
  type Provider,
  type Session,
} from '../compute/session.js'
import { ClusterError } from '../errors.js'
import type { ModelSpec } from '../model/spec.js'
import type { StepBatch } from './attention-engine.js'
import type { SlotPool } from './device-kv.js'
import { gateWidth, route } from './gate.js'

export interface DeviceModel {
  readonly spec: ModelSpec
  readonly kernels: Kernels
  readonly layers: readonly Session[]
  readonly corrections: readonly (Float32Array | undefined)[] // of the layers' gates
  readonly pool: SlotPool
  readonly buffers: RunBuffers
  readonly expertBlocks: number // of a row that experts read rounded; 0: they read float32
  readonly onDeviceLost?: ((error: ClusterError) => void) | undefined
}

export interface DeviceBatch extends StepBatch {
  close(): void
}

export interface BatchRun {
  readonly x: Float32Array // [rows, hidden]: embeddings
  readonly runs: readonly DeviceRun[]
}

/** Uploads what runs share between layers. */
export interface RunBuffers {
  readonly numTensors: number
  open(run: DeviceRun, h: Matrix): Kept
  close(kept: Kept): void
  dispose(): void
}

interface OpenRun {
  readonly run: DeviceRun
  readonly kept: Kept
}

export function openBatch(model: DeviceModel, room: Room, { x, runs }: BatchRun): DeviceBatch {
  const { spec, kernels, layers, corrections, pool, buffers, expertBlocks } = model
  const { hidden } = spec
  const rows = x.length / hidden
  room.reset()
  const [n, delta] = [room.take(x.byteLength), room.take(x.byteLength)]
  const reader = { blocks: expertBlocks, rowBytes: roundedBytes(expertBlocks) }
  const rounded = expertBlocks === 0 ? 0 : room.take(rows * reader.rowBytes)
  const h = new Float32Array(x.length) // after the last layer
  let open: OpenRun[] = []
  const close = (): void => {
    for (const { kept } of open) buffers.close(kept)
    open = []
  }
  try {
    for (const run of runs) open.push({ run, kept: buffers.open(run, gather(x, run, hidden)) })
  } catch (error) {
    close()
    throw error
  }

  /** Runs a layer for some rows: [rows of the run, width of the download]. */
  const runRows = (index: number, { run, kept }: OpenRun): Float32Array => {
    const { h0, h1, ...shared } = kept
    const [from, to] = index % 2 === 0 ? [h0!, h1!] : [h1!, h0!] // B1
    const { keys, values } = pool.layer(index)
    const isLast = index === layers.length - 1
    const sums = index === 0 ? {} : { delta: gather(kernels.floats(delta, x.length), run, hidden) }
    const into: Record<string, DeviceTensor> = { next_keys: keys, next_values: values, ...(!isLast && { next_h: to }) }
    const inputs = { h: from, ...sums, ...shared, ...run.shapes, keys, values }
    try {
      return layers[index]!.runKept(inputs, into).outputs.rows!
    } catch (error) {
      if (error instanceof ClusterError && error.details.reason === 'DEVICE_LOST') model.onDeviceLost?.(error)
      throw error
    }
  }

  return {
    rows,
    close,
    runLayer: (index) => {
      const { ffn } = spec.layers[index]!
      const width = gateWidth(ffn)
      const logits = new Float32Array(rows * width)
      const normed = kernels.floats(n, x.length)
      for (const one of open) {
        const values = runRows(index, one)
        const { places } = one.run
        const stride = values.length / places.length
        places.forEach((row, i) => {
          if (row < 0) return
          const from = i * stride
          normed.set(values.subarray(from, from + hidden), row * hidden)
          logits.set(values.subarray(from + hidden, from + hidden + width), row * width)
          if (stride > hidden + width) h.set(values.subarray(from + hidden + width, from + stride), row * hidden)
        })
      }
      if (index === layers.length - 1) close() // B2
      if (rounded !== 0) {
        kernels.run(() => addRounding(kernels, reader, { x: n, stride: hidden * 4, rows, y: rounded }))
      }
      const isRounded = rounded !== 0
      return {
        operands: { kernels, hidden, x: isRounded ? rounded : n, isRounded, delta },
        routes: route(ffn, rows, logits, { correction: corrections[index] }),
      }
    },
    lastHidden: () => sumOf(h, kernels.floats(delta, x.length)),
  }
}

/** The run's rows of x [rows, hidden]; those that fill up are zeros. */
function gather(x: Float32Array, { spans, rows, places }: DeviceRun, hidden: number): Matrix {
  const data = new Float32Array(places.length * hidden)
  places.forEach((row, i) => {
    if (row >= 0) data.set(x.subarray(row * hidden, (row + 1) * hidden), i * hidden)
  })
  return { data, dims: [spans, rows, hidden] }
}

/** What goes up once per step, by the names that layers read it. */
const SHARED = {
  h0: ['spans', 'rows', 'hidden'],
  h1: ['spans', 'rows', 'hidden'],
  cos: ['spans', 'rows', 1, 'half'],
  sin: ['spans', 'rows', 1, 'half'],
  mask: ['spans', 1, 1, 'rows', 'slots'],
  ones: ['slots', 'columns'],
  places: ['writes', 1],
  table: ['spans', 'kvHeads', 'slots'],
} as const
const LISTS: readonly string[] = ['places', 'table'] // of integers

export function createRunBuffers(provider: Provider): RunBuffers {
  const names = Object.keys(SHARED)
  const enter = createSession(enterGraph(), { provider, keep: names })
  let numTensors = 0
  return {
    get numTensors() {
      return numTensors
    },
    open: ({ shared }, h) => {
      const inputs = Object.entries({ ...shared, h0: h, h1: h }).map(([name, value]) => [`new_${name}`, value] as const)
      const { kept } = enter.runKept(Object.fromEntries(inputs))
      numTensors += names.length
      return kept
    },
    close: (kept) => {
      for (const tensor of Object.values(kept)) tensor.dispose()
      numTensors -= names.length
    },
    dispose: () => enter.dispose(),
  }
}

function enterGraph(): BuiltGraph {
  const graph = new GraphBuilder()
  for (const [name, dims] of Object.entries(SHARED)) {
    const element = LISTS.includes(name) ? 'int32' : 'float'
    graph.output(graph.input(`new_${name}`, dims, element), name, dims, element)
  }
  return graph.build('enter')
}
