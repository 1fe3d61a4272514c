// What the flags of `banyan replay` and `replay compare` mean, and which of them make no sense.

import assert from 'node:assert/strict'
import { parseBound } from '../../../cli/commands/replay-compare.js'
import { goalsOf, limitsOf, promptForm, scheduleOf, type ReplayFlags } from '../../../cli/replay/replay-flags.js'
import { describe as progressLine } from '../../../cli/replay/progress-line.js'

describe('the flags of replay', () => {
  it('choose one pace', () => {
    assert.deepEqual(scheduleOf({}).pace, { kind: 'recorded', speedup: 1 })
    assert.deepEqual(scheduleOf({ concurrency: 4 }).pace, { kind: 'concurrency', limit: 4 })
    const rate = { kind: 'rate', perSecond: 3, burstiness: 0.5, seed: 9 }
    assert.deepEqual(scheduleOf({ rate: 3, seed: 9n }).pace, { ...rate, arrival: 'poisson' })
    assert.deepEqual(scheduleOf({ rate: 3, seed: 9n, arrival: 'gamma' }).pace, { ...rate, arrival: 'gamma' })
    assert.deepEqual(scheduleOf({ rate: 3, seed: 9n, burstiness: 2 }).pace, {
      ...rate,
      arrival: 'gamma',
      burstiness: 2,
    })
  })

  it('cut the trace in its own seconds', () => {
    const { startMs, endMs, limit, sessions } = scheduleOf({ start: 1.5, end: 3, limit: 7, sessions: true })
    assert.deepEqual([startMs, endMs, limit, sessions], [1500, 3000, 7, { maxThinkMs: 15_000 }])
  })

  const senseless: readonly [string, ReplayFlags][] = [
    ['two paces', { speedup: 2, rate: 3 }],
    ['an arrival without a rate', { arrival: 'poisson' }],
    ['an arrival that is none', { rate: 1, arrival: 'sometimes' }],
    ['a burstiness of poisson', { rate: 1, arrival: 'poisson', burstiness: 2 }],
    ['no speed', { speedup: 0 }],
    ['no concurrency', { concurrency: 0 }],
    ['an end before the start', { start: 5, end: 5 }],
    ['a start before the trace', { start: -1 }],
    ['a think time without sessions', { maxThinkMs: 3 }],
    ['no request', { limit: 0 }],
  ]
  for (const [what, flags] of senseless)
    it(`refuse ${what}`, () => assert.throws(() => scheduleOf(flags), { code: 'invalid_argument', message: /want/ }))

  it('refuse goals, prompts and limits that are none', () => {
    const usage = { code: 'invalid_argument', message: /want/ }
    assert.throws(() => goalsOf({ goodput: 'fast' }), usage)
    assert.throws(() => promptForm({ prompts: 'pictures' }), usage)
    assert.throws(() => limitsOf({ timeoutMs: 0 }), usage)
    assert.throws(() => limitsOf({ connectTimeoutMs: 0 }), usage)
    assert.throws(() => limitsOf({ chunkTimeoutMs: 1e14 }), usage)
    assert.throws(() => limitsOf({ maxLateness: -1 }), /--max-lateness: want milliseconds from 0, found -1/)
    assert.deepEqual(limitsOf({ chunkTimeoutMs: 5 }), { chunkMs: 5 })
  })

  it('read a bound as percent or share', () => {
    assert.deepEqual(
      ['5%', '5', '0.05', '.05', '2.5 %'.replace(' ', '')].map(parseBound),
      [0.05, 0.05, 0.05, 0.05, 0.025],
    )
    for (const bad of ['', 'five', '-1%', '5%%']) assert.throws(() => parseBound(bad), /--bound: want a percentage/)
  })

  it('say how it goes in one line', () => {
    const line = progressLine(
      { planned: 10, sent: 6, done: 4, failed: 1, inFlight: 2, elapsedMs: 3000, latenessMs: 0 },
      1.26,
    )
    assert.equal(line, '4/10 done, 1 failed, 2 in flight, 2.0/s sent, late by 1.3 ms at most')
  })
})
