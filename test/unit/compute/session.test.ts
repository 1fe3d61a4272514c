// What a session promises around its runs: typed refusals, and values that stay on the device.

import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { ClusterError } from '../../../lib/errors.js'
import { GraphBuilder, type BuiltGraph } from '../../../lib/compute/graph.js'
import { createSession, engineError, type Matrix } from '../../../lib/compute/session.js'
import { repositoryRoot } from '../../helpers/paths.js'
import { useSoftwareGpu } from '../../helpers/software-gpu.js'

const CUDA_LIBRARY = 'libonnxruntime_providers_cuda.so'

const one: Matrix = { data: Float32Array.of(1, -2), dims: [1, 2] }
const two: Matrix = { data: Float32Array.of(1, 2, 3, 4), dims: [2, 2] }

/** y = x + x, z = x · x */
function twice(): BuiltGraph {
  const graph = new GraphBuilder()
  const x = graph.input('x', ['rows', 2])
  graph.output(graph.node('Add', [x, x]), 'y', ['rows', 2])
  graph.output(graph.node('Mul', [x, x]), 'z', ['rows', 2])
  return graph.build('test')
}

const isInternal = (words: RegExp) => (error: unknown) =>
  error instanceof ClusterError && error.code === 'internal' && words.test(error.message)

describe('session', () => {
  it('a failed run is a typed error, and the session goes on', () => {
    const session = createSession(twice())
    const wrong = { x: { data: new Float32Array(3), dims: [1, 3] } }
    assert.throws(() => session.run(wrong), isInternal(/compute engine failed/))
    assert.deepEqual(session.run({ x: one }).y, Float32Array.of(2, -4))
    session.dispose()
  })

  it('refuses a broken graph with the engine’s words', () => {
    const broken = { model: Uint8Array.of(1, 2, 3), weightFolder: undefined }
    assert.throws(() => createSession(broken), isInternal(/refused a graph/))
  })

  it('without the library for CUDA it says how to install it', function () {
    const library = join(repositoryRoot, 'node_modules/onnxruntime-node/bin/napi-v6/linux/x64', CUDA_LIBRARY)
    if (existsSync(library)) return this.skip()
    const wanted = /^device cuda:0: want libonnxruntime_providers_cuda.so, found none; install it with: node .*cuda12$/
    assert.throws(
      () => createSession(twice(), { provider: 'cuda:0' }),
      (error: unknown) =>
        error instanceof ClusterError && error.code === 'failed_precondition' && wanted.test(error.message),
    )
  })

  it('no adapter is a device that is not there', () => {
    const none = engineError(
      'webgpu',
      'refused a graph',
      new Error('/src/x.cc:1 Failed to get a WebGPU adapter: No supported adapters\n'),
    )
    assert.deepEqual([none.code, none.details.reason], ['failed_precondition', 'NO_DEVICE'])
    assert.match(
      none.message,
      /^device webgpu: want a GPU .*, found none: Failed to get a WebGPU adapter: No supported adapters$/,
    )
  })

  it('a lost device is unavailable, whatever else fails there is internal', () => {
    const lost = engineError('webgpu', 'failed', new Error('WebGPU device lost (1): driver gone'))
    assert.equal(lost.code, 'unavailable')
    assert.equal(lost.details.reason, 'DEVICE_LOST')
    assert.equal(engineError('webgpu', 'failed', new Error('bad input')).code, 'internal')
  })
})

describe('session on webgpu', () => {
  before(function () {
    this.timeout(60_000) // a first start compiles the driver's own code
    useSoftwareGpu(this)
  })

  it('refuses what the device cannot do, instead of moving it to the CPU', () => {
    const graph = new GraphBuilder()
    graph.output(graph.node('Det', [graph.input('x', [2, 2])]), 'y', [])
    assert.throws(() => createSession(graph.build('test'), { provider: 'webgpu' }), isInternal(/fallback to CPU/))
  })

  it('keeps an output on the device and reads it, or a view of it, without a copy', () => {
    const keeping = createSession(twice(), { provider: 'webgpu', keep: ['y'] })
    const reading = createSession(twice(), { provider: 'webgpu' })
    const { outputs, kept } = keeping.runKept({ x: two })
    assert.deepEqual(outputs.z, Float32Array.of(1, 4, 9, 16))
    const y = kept.y!
    assert.deepEqual(reading.run({ x: y }).y, Float32Array.of(4, 8, 12, 16))
    assert.deepEqual(reading.run({ x: y.view([1, 2]) }).y, Float32Array.of(4, 8))
    assert.throws(() => y.view([3, 2]), isInternal(/want at most 4 values, got 6/))
    y.dispose()
    assert.throws(() => reading.run({ x: y }), isInternal(/failed/))
    keeping.dispose()
    reading.dispose()
  })

  it('writes an output where a kept tensor lies, also where the input does', () => {
    const keeping = createSession(twice(), { provider: 'webgpu', keep: ['y'] })
    const writing = createSession(twice(), { provider: 'webgpu' })
    const y = keeping.runKept({ x: two }).kept.y! // 2 4 6 8
    const { outputs } = writing.runKept({ x: y }, { y })
    assert.deepEqual(outputs.z, Float32Array.of(4, 16, 36, 64))
    assert.deepEqual(writing.run({ x: y }).y, Float32Array.of(8, 16, 24, 32))
    assert.throws(() => writing.runKept({ x: one }, { y: y.view([1, 2]) }), isInternal(/multiple of 4/))
    assert.throws(() => keeping.runKept({ x: two }, { y }), isInternal(/where it keeps others/))
    y.dispose()
    keeping.dispose()
    writing.dispose()
  })
})
