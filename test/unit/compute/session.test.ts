// What a session promises around its runs: typed refusals.

import assert from 'node:assert/strict'
import { ClusterError } from '../../../lib/errors.js'
import { GraphBuilder } from '../../../lib/compute/graph.js'
import { createSession, type Matrix, type Session } from '../../../lib/compute/session.js'

const one: Matrix = { data: Float32Array.of(1, -2), dims: [1, 2] }

/** y = x + x */
function twice(): Session {
  const graph = new GraphBuilder()
  const x = graph.input('x', ['rows', 2])
  graph.output(graph.node('Add', [x, x]), 'y', ['rows', 2])
  return createSession(graph.build('test'))
}

const isInternal = (words: RegExp) => (error: unknown) =>
  error instanceof ClusterError && error.code === 'internal' && words.test(error.message)

describe('session', () => {
  it('a failed run is a typed error, and the session goes on', () => {
    const session = twice()
    const wrong = { x: { data: new Float32Array(3), dims: [1, 3] } }
    assert.throws(() => session.run(wrong), isInternal(/compute engine failed/))
    assert.deepEqual(session.run({ x: one }).y, Float32Array.of(2, -4))
    session.dispose()
  })

  it('refuses a broken graph with the engine’s words', () => {
    const broken = { model: Uint8Array.of(1, 2, 3), weightFolder: undefined }
    assert.throws(() => createSession(broken), isInternal(/refused a graph/))
  })
})
