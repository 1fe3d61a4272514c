// The only module that imports the compute engine. A session computes synchronously inside one event-loop turn; between
// two runs the loop turns, so that messages are answered while a step is under way.
//
// Invariants
//   C1  A row's bits do not depend on the rows beside it: a kernel that needs two rows for that gets them (`minRows`).
//   C2  Intra-op threads of a session are fixed at its creation; attention over run-time tensors always has one.

import * as ort from 'onnxruntime-node'
import { ClusterError } from '../errors.js'

export const ENGINE_VERSION = `onnxruntime-${ort.env.versions.node ?? ort.env.versions.common}`

export interface Matrix {
  readonly data: Float32Array | BigInt64Array
  readonly dims: readonly number[]
}

export interface Session {
  /** Runs the graph; outputs are fresh float32 arrays, keyed by output name. */
  run(inputs: Readonly<Record<string, Matrix>>): Promise<Readonly<Record<string, Float32Array>>>
  /** Frees the weights once the runs under way have ended. */
  dispose(): Promise<void>
}

/** Loads a model from its bytes on the CPU. Throws `internal` with the engine's words where it refuses the graph. */
export async function createSession(model: Uint8Array, threads = 1): Promise<Session> {
  const session = await ort.InferenceSession.create(model, {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    enableCpuMemArena: false,
    logSeverityLevel: 3,
    extra: { session: { intra_op: { allow_spinning: '0' } } },
  }).catch((error: unknown) => {
    throw new ClusterError('internal', `compute engine refused a graph: ${String(error)}`, { cause: error })
  })
  let lastRun: Promise<unknown> = Promise.resolve()
  return {
    run: async (inputs) => {
      const feeds = Object.fromEntries(Object.entries(inputs).map(([name, value]) => [name, toTensor(value)]))
      const running = session.run(feeds)
      lastRun = running.catch(() => undefined) // its caller hears of it
      const results = await running
      return Object.fromEntries(Object.entries(results).map(([name, value]) => [name, floats(value)]))
    },
    dispose: async () => {
      await lastRun // runs end in the order of their calls
      await session.release()
    },
  }
}

function toTensor({ data, dims }: Matrix): ort.Tensor {
  return data instanceof Float32Array ? new ort.Tensor('float32', data, dims) : new ort.Tensor('int64', data, dims)
}

function floats(value: ort.OnnxValue): Float32Array {
  if (value.data instanceof Float32Array) return value.data
  throw new ClusterError('internal', `compute engine output: want float32, got ${value.type}`)
}
