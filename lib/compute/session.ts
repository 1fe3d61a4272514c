// The only module that imports the compute engine. A run is synchronous: it returns when the graph has computed.
//
// Invariants
//   C1  A row's bits do not depend on the rows beside it: a kernel that needs two rows for that gets them (`minRows`).
//   C2  Intra-op threads of a session are fixed at its creation; attention over run-time tensors always has one.

import * as ort from 'onnxruntime-node'
import { binding, initOrt } from 'onnxruntime-node/dist/binding.js'
import { ClusterError } from '../errors.js'
import type { BuiltGraph } from './graph.js'

export const ENGINE_VERSION = `onnxruntime-${ort.env.versions.node ?? ort.env.versions.common}`

export interface Matrix {
  readonly data: Float32Array | BigInt64Array | Uint8Array // an Uint8Array holds booleans
  readonly dims: readonly number[]
}

export type Inputs = Readonly<Record<string, Matrix>>
export type Outputs = Readonly<Record<string, Float32Array>>

export interface Session {
  /** Runs the graph; outputs are fresh float32 arrays, keyed by output name. Throws `internal` where the engine fails. */
  run(inputs: Inputs): Outputs
  /** Frees the weights. */
  dispose(): void
}

/** Loads a graph on the CPU. Throws `internal` with the engine's words where it refuses the graph. */
export function createSession({ model, weightFolder }: BuiltGraph, threads = 1): Session {
  initOrt()
  const session = new binding.InferenceSession()
  const options = {
    executionProviders: ['cpu'],
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    enableCpuMemArena: false,
    logSeverityLevel: 3,
    extra: { session: { ...external(weightFolder), intra_op: { allow_spinning: '0' } } },
  }
  inEngine('refused a graph', () => session.loadModel(model.buffer, model.byteOffset, model.byteLength, options))
  const fetches = Object.fromEntries(session.outputMetadata.map(({ name }) => [name, null]))
  return {
    run: (inputs) => {
      const feeds: Record<string, ort.Tensor> = {}
      for (const name in inputs) feeds[name] = toTensor(inputs[name]!)
      const results = inEngine('failed', () => session.run(feeds, fetches, {}))
      const outputs: Record<string, Float32Array> = {}
      for (const name in results) outputs[name] = floats(results[name]!)
      return outputs
    },
    dispose: () => session.dispose(),
  }
}

const external = (folder: string | undefined): object =>
  folder === undefined ? {} : { model_external_initializers_file_folder_path: folder }

function inEngine<T>(what: string, call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw new ClusterError('internal', `compute engine ${what}: ${String(error)}`, { cause: error })
  }
}

function toTensor({ data, dims }: Matrix): ort.Tensor {
  if (data instanceof Float32Array) return new ort.Tensor('float32', data, dims)
  return data instanceof Uint8Array ? new ort.Tensor('bool', data, dims) : new ort.Tensor('int64', data, dims)
}

function floats(value: ort.Tensor): Float32Array {
  if (value.data instanceof Float32Array) return value.data
  throw new ClusterError('internal', `compute engine output: want float32, got ${value.type}`)
}
