// The only module that imports the compute engine. A run is synchronous: it returns when the graph has computed.
//
// Invariants
//   C1  On a device every node of a graph runs there: what the device cannot do is refused when the graph is loaded,
//       never moved to the CPU in silence.
//   C2  What is kept on the device stays there until it is disposed of, and goes into later runs without a copy.
//   C3  Weights in float16 stay so: the engine's folding, which would widen them when the graph is loaded, is off there.

import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import * as ort from 'onnxruntime-node'
import { binding, initOrt } from 'onnxruntime-node/dist/binding.js'
import { ClusterError } from '../errors.js'
import type { BuiltGraph } from './graph.js'

export const ENGINE_VERSION = `onnxruntime-${ort.env.versions.node ?? ort.env.versions.common}`

export type Provider = 'cpu' | 'webgpu' | `cuda:${number}`

export interface Matrix {
  readonly data: Float32Array | Int32Array | BigInt64Array | Uint8Array // an Uint8Array holds booleans
  readonly dims: readonly number[]
}

/** A value in the device's memory. With `cuda` the engine's binding hands out host memory only: then it lies there. */
export interface DeviceTensor {
  readonly tensor: ort.Tensor
  readonly dims: readonly number[]
  /** The first values of the same memory under other dims; it ends with the tensor that it looks at. */
  view(dims: readonly number[]): DeviceTensor
  dispose(): void
}

export type Inputs = Readonly<Record<string, Matrix | DeviceTensor>>
export type Outputs = Readonly<Record<string, Float32Array>>
export type Kept = Readonly<Record<string, DeviceTensor>>

export interface SessionOptions {
  readonly provider?: Provider
  readonly threads?: number
  /** Outputs that stay on the device. */
  readonly keep?: readonly string[]
}

export interface Session {
  /** Runs the graph; outputs are fresh float32 arrays, keyed by output name. Throws where the engine fails. */
  run(inputs: Inputs): Outputs
  /**
   * Runs the graph; its `keep` outputs stay on the device. A session without `keep` may write outputs where a tensor
   * lies that the device holds already (`into`); that may be one of the inputs.
   */
  runKept(inputs: Inputs, into?: Kept): { readonly outputs: Outputs; readonly kept: Kept }
  /** Frees the weights. */
  dispose(): void
}

/** Loads a graph. Throws with the engine's words where it refuses the graph or has no such device. */
export function createSession(graph: BuiltGraph, options: SessionOptions = {}): Session {
  const { provider = 'cpu', keep = [] } = options
  if (provider.startsWith('cuda')) requireCuda(provider)
  initOrt()
  const session = new binding.InferenceSession()
  const { buffer, byteOffset, byteLength } = graph.model
  const settings = sessionSettings(graph, options)
  inEngine(provider, 'refused a graph', () => session.loadModel(buffer, byteOffset, byteLength, settings))
  const names = session.outputMetadata.map(({ name }) => name)

  const runKept = (inputs: Inputs, into: Kept = {}) => {
    checkTargets(keep, Object.values(into))
    const feeds: Record<string, ort.Tensor> = {}
    for (const name in inputs) feeds[name] = toTensor(inputs[name]!)
    const fetches = Object.fromEntries(names.map((name) => [name, into[name]?.tensor ?? null]))
    const results = inEngine(provider, 'failed', () => session.run(feeds, fetches, {}))
    const outputs: Record<string, Float32Array> = {}
    const kept: Record<string, DeviceTensor> = {}
    for (const name in results) {
      if (into[name] !== undefined) kept[name] = into[name]
      else if (keep.includes(name)) kept[name] = deviceTensor(results[name]!)
      else outputs[name] = floats(results[name]!)
    }
    return { outputs, kept }
  }

  return {
    run: (inputs) => runKept(inputs).outputs,
    runKept,
    dispose: () => session.dispose(),
  }
}

const WIDENING = ['ConstantFolding', 'FuseFp16InitializerToFp32NodeTransformer']

function sessionSettings(
  { weightFolder, hasFloat16 = false }: BuiltGraph,
  { provider = 'cpu', threads = 1, keep = [] }: SessionOptions,
) {
  const isOnDevice = provider !== 'cpu'
  const session = {
    ...(weightFolder !== undefined && { model_external_initializers_file_folder_path: weightFolder }),
    ...(isOnDevice && { disable_cpu_ep_fallback: '1' }), // C1
  }
  return {
    executionProviders: [providerSettings(provider)],
    ...(provider === 'webgpu' && { preferredOutputLocation: placesOf(keep) }),
    intraOpNumThreads: threads,
    interOpNumThreads: 1,
    enableCpuMemArena: false,
    logSeverityLevel: isOnDevice ? 4 : 3, // a failure is thrown; a device's is written as well, unless told otherwise
    extra: {
      session: { ...session, intra_op: { allow_spinning: '0' } },
      ...(hasFloat16 && { optimization: { disable_specified_optimizers: WIDENING.join(';') } }), // C3
    },
  }
}

const VECTOR = 4 // values that a device writes at once: what follows the end of a shorter view would be lost

function checkTargets(keep: readonly string[], targets: readonly DeviceTensor[]): void {
  if (targets.length > 0 && keep.length > 0) {
    throw new ClusterError('internal', 'session: the engine writes into no given tensor where it keeps others')
  }
  const odd = targets.find(({ tensor }) => tensor.size % VECTOR !== 0)
  if (odd !== undefined) {
    throw new ClusterError('internal', `output: want a multiple of ${VECTOR} values, got ${odd.tensor.size}`)
  }
}

const placesOf = (keep: readonly string[]) => Object.fromEntries(keep.map((name) => [name, 'gpu-buffer']))

function providerSettings(provider: Provider): string | { readonly name: string; readonly deviceId: number } {
  const [name = '', device] = provider.split(':')
  return device === undefined ? name : { name, deviceId: Number(device) }
}

function inEngine<T>(provider: Provider, what: string, call: () => T): T {
  try {
    return call()
  } catch (error) {
    throw engineError(provider, what, error)
  }
}

const LOST =
  /device\b.{0,40}\blost|DeviceLost|VK_ERROR_DEVICE_LOST|CUDA error (46|700|719)\b|CUDA failure (46|700|719)\b/i

const CUDA_LIBRARY = 'libonnxruntime_providers_cuda.so'
export const CUDA_INSTALL = 'node node_modules/onnxruntime-node/script/install.js --onnxruntime-node-install=cuda12'

/** Whether the engine's library for CUDA is installed: npm does not do it by itself. */
export function hasCuda(): boolean {
  const root = dirname(dirname(createRequire(import.meta.url).resolve('onnxruntime-node')))
  return existsSync(join(root, 'bin', 'napi-v6', process.platform, process.arch, CUDA_LIBRARY))
}

function requireCuda(provider: Provider): void {
  if (hasCuda()) return
  throw noDevice(provider, `${CUDA_LIBRARY}, found none; install it with: ${CUDA_INSTALL}`)
}

const noDevice = (provider: Provider, wanted: string, cause?: unknown): ClusterError =>
  new ClusterError('failed_precondition', `device ${provider}: want ${wanted}`, {
    cause,
    details: { reason: 'NO_DEVICE', device: provider },
  })

const NO_ADAPTER =
  /Failed to get a WebGPU (adapter|device)|no CUDA-capable device|CUDA driver version is insufficient|invalid device ordinal/i

const LACKS_FLOAT16 = /requires f16 but the device does not support it/

/**
 * A device that is lost is `unavailable`: another worker may do it; none, `failed_precondition`; one without float16,
 * `unimplemented`. The rest is `internal`.
 */
export function engineError(provider: Provider, what: string, error: unknown): ClusterError {
  const words = error instanceof Error ? error.message : String(error)
  if (provider !== 'cpu' && LOST.test(words)) {
    const details = { reason: 'DEVICE_LOST', device: provider }
    return new ClusterError('unavailable', `device ${provider} is lost: ${words}`, { cause: error, details })
  }
  if (LACKS_FLOAT16.test(words)) {
    const details = { reason: 'NO_FLOAT16', device: provider }
    const message = `device ${provider}: want float16 (shader-f16), which it lacks; choose another --weights than f16`
    return new ClusterError('unimplemented', message, { cause: error, details })
  }
  const missing = provider === 'cpu' ? null : NO_ADAPTER.exec(words)
  if (missing !== null) {
    const driver = provider === 'webgpu' ? 'and (on Linux) its Vulkan driver' : 'and its driver'
    return noDevice(provider, `a GPU ${driver}, found none: ${words.slice(missing.index).trim()}`, error)
  }
  const where = provider === 'cpu' ? '' : ` on ${provider}`
  return new ClusterError('internal', `compute engine ${what}${where}: ${words}`, { cause: error })
}

function toTensor(value: Matrix | DeviceTensor): ort.Tensor {
  if ('tensor' in value) return value.tensor
  const { data, dims } = value
  if (data instanceof Float32Array) return new ort.Tensor('float32', data, dims)
  if (data instanceof Int32Array) return new ort.Tensor('int32', data, dims)
  return data instanceof Uint8Array ? new ort.Tensor('bool', data, dims) : new ort.Tensor('int64', data, dims)
}

function deviceTensor(tensor: ort.Tensor): DeviceTensor {
  return {
    tensor,
    dims: tensor.dims,
    view: (dims) => ({ ...deviceTensor(viewOf(tensor, dims)), dispose: () => undefined }),
    dispose: () => tensor.dispose(),
  }
}

function viewOf(tensor: ort.Tensor, dims: readonly number[]): ort.Tensor {
  const size = dims.reduce((product, dim) => product * dim, 1)
  if (size > tensor.size) {
    throw new ClusterError('internal', `view of a tensor: want at most ${tensor.size} values, got ${size}`)
  }
  if (tensor.location === 'gpu-buffer') {
    const dataType = tensor.type as ort.Tensor.GpuBufferDataTypes // it came from the device
    return ort.Tensor.fromGpuBuffer(tensor.gpuBuffer, { dataType, dims })
  }
  if (tensor.data instanceof Float32Array) return new ort.Tensor('float32', tensor.data.subarray(0, size), dims)
  throw new ClusterError('internal', `view of a tensor: want float32, got ${tensor.type}`)
}

function floats(value: ort.Tensor): Float32Array {
  if (value.data instanceof Float32Array) return value.data
  throw new ClusterError('internal', `compute engine output: want float32, got ${value.type}`)
}
