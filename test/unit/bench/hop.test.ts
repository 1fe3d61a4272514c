// The parts of the hop's bench that need no cluster: what Linux's /proc says, who used the cores, bytes of a layer.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { parseTraffic, perLayer } from '../../../bench/hop/layer-bytes.js'
import { elapsed, parseIdleTicks, parseStat } from '../../../bench/hop/processor-time.js'
import { hopSection } from '../../../bench/hop/section.js'
import { usageOf } from '../../../bench/hop/usage.js'

describe('parseStat', () => {
  const stat = (command: string): string =>
    `4242 (${command}) S 1 4242 4242 0 -1 4194560 900 0 0 0 150 25 7 7 20 0 11 0 5000 1000000 200`

  it('adds user and system time, not those of ended children', () =>
    assert.deepEqual(parseStat(stat('node')), { command: 'node', ticks: 175 }))

  it('reads on after the last parenthesis of the command', () =>
    assert.deepEqual(parseStat(stat('a) S (b')), { command: 'a) S (b', ticks: 175 }))
})

describe('parseIdleTicks', () => {
  it('adds what was idle and what waited for disks, over all cores', () =>
    assert.equal(parseIdleTicks('cpu  100 1 50 800 20 0 3 4 0 0\ncpu0 50 1 25 400 10 0 3 4 0 0\n'), 820))
})

describe('elapsed', () => {
  it('counts a process from its start where it was not there before', () =>
    assert.deepEqual(
      elapsed({ byRole: { router: 1 }, idle: 5, wall: 10 }, { byRole: { router: 3, drafter: 2 }, idle: 6, wall: 13 }),
      { byRole: { router: 2, drafter: 2 }, idle: 1, wall: 3 },
    ))
})

describe('usageOf', () => {
  const seconds = fc.integer({ min: 0, max: 1000 })

  it('shares out all of the cores’ time', () => {
    fc.assert(
      fc.property(
        seconds,
        seconds,
        seconds,
        seconds,
        fc.integer({ min: 1, max: 500 }),
        (a, b, idle, rest, numTokens) => {
          const wall = (a + b + idle + rest) / 2
          const usage = usageOf({ byRole: { a, b }, idle, wall }, { numTokens, cores: 2 })
          const all = [...Object.values(usage.byRole), usage.idle, usage.others].reduce((sum, one) => sum + one, 0)
          assert.ok(Math.abs(all - 2 * usage.wallPerToken) < 1e-6)
        },
      ),
    )
  })

  it('leaves nothing to others where coarse clocks count more than there was', () =>
    assert.equal(usageOf({ byRole: { a: 2 }, idle: 1, wall: 1 }, { numTokens: 1, cores: 2 }).others, 0))
})

describe('layer bytes', () => {
  it('are those of the steps by which one run is longer', () =>
    assert.deepEqual(perLayer({ readBytes: 900, writtenBytes: 500 }, { readBytes: 1900, writtenBytes: 2500 }, 100), {
      request: 10,
      reply: 20,
    }))

  it('say where no traffic was seen', () =>
    assert.throws(
      () => perLayer({ readBytes: 5, writtenBytes: 5 }, { readBytes: 5, writtenBytes: 5 }, 1),
      /found 0 and 0/,
    ))

  it('come from what a process read and wrote in all', () =>
    assert.deepEqual(parseTraffic('rchar: 3980\nwchar: 17\nsyscr: 8\nsyscw: 1\nread_bytes: 0\nwrite_bytes: 0\n'), {
      readBytes: 3980,
      writtenBytes: 17,
    }))
})

describe('hopSection', () => {
  const usage = { wallPerToken: 0.01, byRole: { router: 0.002, drafter: 0 }, others: 0.003, idle: 0.015 }
  const result = {
    model: { name: 'demo', layers: 4 },
    rows: [{ streams: 16, local: [400], nats: [100], usage: [usage] }],
    processes: [{ role: 'router' }, { role: 'router' }, { role: 'drafter' }],
    layerBytes: { request: 10, reply: 20 },
    fanOut: { p50: 500, p90: 900, p99: 1000 },
  }
  const text = hopSection({ results: [result], rounds: 1, numTokens: 8, threads: 2, cores: 2 }, 'A machine.')

  it('compares the clusters', () => assert.match(text, /\| demo \| 16 \| 400 .*\| 100 .*\| 0\.250 /))

  it('has the shares of a role, of others and of idle cores', () => {
    assert.match(text, /\| router \| 2 \| 2\.00 .*\| 20\.0 % \| 10\.0 % \|/)
    assert.match(text, /\| others \| {2}\| 3\.00 .*\| 30\.0 % \| 15\.0 % \|/)
    assert.match(text, /\| idle \| {2}\| 15\.0 .*\| 150 % \| 75\.0 % \|/)
  })

  it('leaves out who did nothing', () => assert.doesNotMatch(text, /\| drafter \|/))

  it('sets the raw fan-out of all layers beside a step', () =>
    assert.match(text, /\| demo \| 10 \| 20 \| 500 \(900\) \| 2\.00 \| 160 \|/))
})
