// What a session promises around its runs: C1's two-row rule, a typed refusal, and an end that waits.

import assert from 'node:assert/strict'
import { ClusterError } from '../../../lib/errors.js'
import { GraphBuilder } from '../../../lib/compute/graph.js'
import { createSession, type Matrix, type Session } from '../../../lib/compute/session.js'
import { withMinRows } from '../../../lib/compute/two-rows.js'

const one: Matrix = { data: Float32Array.of(1, -2), dims: [1, 2] }

/** y = x + x */
function twice(): Promise<Session> {
  const graph = new GraphBuilder()
  const x = graph.input('x', ['rows', 2])
  graph.output(graph.node('Add', [x, x]), 'y', ['rows', 2])
  return createSession(graph.build('test'))
}

describe('session', () => {
  it('lets the runs under way end before it is disposed', async () => {
    const session = await twice()
    const runs = [session.run({ x: one }), session.run({ x: one })]
    await session.dispose()
    for (const { y } of await Promise.all(runs)) assert.deepEqual(y, Float32Array.of(2, -4))
  })

  it('is disposed also after a run that failed', async () => {
    const session = await twice()
    await assert.rejects(session.run({ x: { data: new Float32Array(3), dims: [1, 3] } }))
    await session.dispose()
  })

  it('refuses a broken graph with the engine’s words', () =>
    assert.rejects(
      createSession(Uint8Array.of(1, 2, 3)),
      (error) => error instanceof ClusterError && error.code === 'internal' && /refused a graph/.test(error.message),
    ))

  it('two rows at least: a single row comes back alone', async () => {
    const session = withMinRows(await twice(), 2)
    assert.deepEqual((await session.run({ x: one })).y, Float32Array.of(2, -4))
    await session.dispose()
  })
})
