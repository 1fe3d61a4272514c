import assert from 'node:assert/strict'
import { unsettled, type ClusterStatus, type ProcessRow } from '../../chaos/status.js'

describe('a cluster at rest', () => {
  const asked = { routers: 1, attention: 1, experts: 2, replicas: 2, drafters: 0 }
  const shards = [0, 1, 2, 3, 4, 5, 6, 7]
  const row = (role: ProcessRow['role'], id: string, fields: Partial<ProcessRow> = {}): ProcessRow => ({
    role,
    id,
    pid: 1,
    state: 'ready',
    shards: [],
    ...fields,
  })
  const expert = (i: number, fields: Partial<ProcessRow> = {}) =>
    row('expert-worker', `expert-worker-${i}`, { shards, ...fields })
  const look = (experts: readonly ProcessRow[], requests: Partial<ClusterStatus['requests']> = {}): string => {
    const processes = [row('router', 'router-0'), row('attention', 'attention-0'), ...experts]
    return unsettled(
      { epoch: 1, processes, requests: { running: 0, waiting: 0, ...requests } },
      asked,
      (pid) => pid === 1,
    )
  }

  it('is whole, also beside rows of the dead', () => {
    assert.equal(look([expert(0), expert(1), expert(1, { pid: 9, state: 'dead', shards: [] })]), '')
  })

  const others: readonly [string, () => string, RegExp][] = [
    ['no answer', () => unsettled(undefined, asked), /does not answer/],
    ['a missing worker', () => look([expert(0)]), /expert-worker: want 2, found 1/],
    ['a suspect', () => look([expert(0), expert(1, { state: 'suspect' })]), /expert-worker-1 \(1\) is suspect/],
    ['a process that is gone', () => look([expert(0), expert(1, { pid: 9 })]), /expert-worker-1 \(9\) is gone/],
    [
      'a lost shard',
      () => look([expert(0), expert(1, { shards: shards.slice(1) })]),
      /shard 0: want 2 replicas, found 1/,
    ],
    ['a request', () => look([expert(0), expert(1)], { running: 3 }), /3 requests run, 0 wait/],
  ]
  for (const [title, words, pattern] of others) it(`is not whole with ${title}`, () => assert.match(words(), pattern))
})
