// Who is alive, by what this router heard and by what it asked.

import assert from 'node:assert/strict'
import type { Heartbeat } from '../../../lib/wire/messages.js'
import {
  createMembership,
  DEAD_AFTER_MS,
  OUT_AFTER_MS,
  PING_AFTER_MS,
  SUSPECT_AFTER_MS,
  type Membership,
} from '../../../services/router/membership.js'

const beat = (id: string, incarnation: string, state: Heartbeat['state'] = 'ready'): Heartbeat => ({
  kind: 'worker.heartbeat',
  role: 'expert-worker',
  id,
  incarnation,
  pid: 1,
  state,
  deviceClass: 'c',
  fingerprint: 'f',
  shards: [],
  capacity: { kvTokens: 0, maxRows: 0 },
  load: {},
})
const states = (membership: Membership): string[] => membership.processes().map(({ state }) => state)

describe('createMembership', () => {
  it('silence makes suspect, then dead; a heartbeat brings a suspect back (M2, M3)', () => {
    const membership = createMembership()
    membership.observe(beat('a', '1'), 0)
    membership.tick(SUSPECT_AFTER_MS + 1)
    assert.deepEqual(states(membership), ['suspect'])
    membership.observe(beat('a', '1'), 3000)
    assert.deepEqual(states(membership), ['ready'])
    membership.tick(3000 + DEAD_AFTER_MS + 1)
    assert.deepEqual([states(membership), membership.isLive('a')], [['dead'], false])
    membership.tick(3000 + 61_000)
    assert.deepEqual(states(membership), [])
  })

  it('shows a silent process as suspect within a second', () => {
    assert.ok(SUSPECT_AFTER_MS <= 900)
  })

  it('a new incarnation replaces the old one, which never comes back (M1)', () => {
    const membership = createMembership()
    membership.observe(beat('a', 'old'), 0)
    membership.observe(beat('a', 'new', 'starting'), 10)
    membership.observe(beat('a', 'old'), 20)
    assert.deepEqual(states(membership), ['dead', 'starting'])
    assert.equal(membership.isLive('a'), false)
  })

  it('a suspect keeps its work while only silence speaks against it (M4)', () => {
    const membership = createMembership()
    const process = beat('a', '1')
    membership.observe(process, 0)
    membership.tick(OUT_AFTER_MS + 1)
    assert.deepEqual([states(membership), membership.isLive('a')], [['suspect'], true])
    membership.pinged(process, 'unanswered', OUT_AFTER_MS + 2)
    membership.tick(OUT_AFTER_MS + 3)
    assert.deepEqual([states(membership), membership.isLive('a')], [['suspect'], false])
    membership.pinged(process, 'answered', OUT_AFTER_MS + 4)
    assert.deepEqual([states(membership), membership.isLive('a')], [['ready'], true])
    membership.tick(OUT_AFTER_MS + 5)
    assert.deepEqual(states(membership), ['ready'])
  })

  it('an unanswered ping before the time takes no work away, nor one that a heartbeat has overtaken (M4)', () => {
    const membership = createMembership()
    const process = beat('a', '1')
    membership.observe(process, 0)
    membership.pinged(process, 'unanswered', PING_AFTER_MS)
    membership.tick(OUT_AFTER_MS)
    assert.equal(membership.isLive('a'), true)
    membership.observe(process, OUT_AFTER_MS)
    membership.pinged(process, 'unanswered', OUT_AFTER_MS + 1)
    membership.pinged(process, 'gone', OUT_AFTER_MS + 1)
    membership.tick(2 * OUT_AFTER_MS + 1)
    assert.deepEqual([states(membership), membership.isLive('a')], [['suspect'], true])
  })

  it('is dead at once where nobody listens any more, and back with its next heartbeat', () => {
    const membership = createMembership()
    const process = beat('a', '1')
    membership.observe(process, 0)
    membership.pinged(process, 'gone', PING_AFTER_MS)
    assert.deepEqual([states(membership), membership.isLive('a')], [['dead'], false])
    membership.observe(process, PING_AFTER_MS + 1)
    assert.deepEqual([states(membership), membership.isLive('a')], [['ready'], true])
  })

  it('who was asked in vain gets no more work until it is heard of', () => {
    const membership = createMembership()
    membership.observe(beat('a', '1'), 0)
    membership.suspect('a')
    assert.deepEqual([states(membership), membership.isLive('a')], [['suspect'], false])
    membership.observe(beat('a', '1'), 1)
    assert.equal(membership.isLive('a'), true)
  })

  it('names whom to ping: the silent that are not dead', () => {
    const membership = createMembership()
    for (const id of ['a', 'b', 'c']) membership.observe(beat(id, '1'), 0)
    membership.observe(beat('b', '1'), PING_AFTER_MS)
    membership.pinged(beat('c', '1'), 'gone', PING_AFTER_MS)
    assert.deepEqual(
      membership.silent(PING_AFTER_MS).map(({ id }) => id),
      ['a'],
    )
  })

  it('nobody is silent while the router does not hear itself, and all start afresh when it does (M5)', () => {
    const own = beat('router-0', 'own')
    const membership = createMembership(own)
    membership.observe(own, 0)
    membership.observe(beat('a', '1'), 0)
    membership.tick(10 * DEAD_AFTER_MS)
    assert.deepEqual([states(membership), membership.silent(10 * DEAD_AFTER_MS)], [['ready', 'ready'], []])
    membership.observe(own, 10 * DEAD_AFTER_MS)
    membership.tick(10 * DEAD_AFTER_MS + 1)
    assert.deepEqual(states(membership), ['ready', 'ready'])
    for (let ms = 0; ms <= 1000; ms += 250) membership.observe(own, 10 * DEAD_AFTER_MS + ms)
    membership.tick(10 * DEAD_AFTER_MS + 1000)
    assert.deepEqual(states(membership), ['ready', 'suspect'])
  })

  it('remembers for a while who was late', () => {
    const membership = createMembership()
    membership.accuse(['a'], 0)
    assert.deepEqual([membership.isAccused('a', 1), membership.isAccused('b', 1)], [true, false])
    membership.tick(60_000)
    assert.equal(membership.isAccused('a', 60_000), false)
  })

  it('tells of every change of who may work, and of nothing else', () => {
    const membership = createMembership()
    let changes = 0
    membership.onChange(() => (changes += 1))
    const process = beat('a', '1')
    membership.observe(process, 0)
    membership.observe(process, 250)
    membership.tick(300)
    assert.equal(changes, 1)
    membership.tick(OUT_AFTER_MS) // suspect
    membership.pinged(process, 'unanswered', OUT_AFTER_MS)
    membership.tick(OUT_AFTER_MS + 251) // out
    membership.tick(OUT_AFTER_MS + 300)
    assert.equal(changes, 3)
  })
})
