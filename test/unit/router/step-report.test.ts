import assert from 'node:assert/strict'
import { describeStep } from '../../../services/router/step-report.js'
import type { DraftedStep } from '../../../services/router/speculation.js'
import { shapeOf } from '../../../services/router/step-shape.js'

describe('describeStep', () => {
  const step: DraftedStep = {
    rows: [],
    shape: { ...shapeOf([]), afterDraft: 0 },
    drafts: new Map(),
    asked: [],
    isControl: false,
    unread: 0,
    waitedMs: 4,
    choice: { nodes: new Map(), price: 0, plainMs: 0, predictedMs: 0 },
  }
  const worker = {
    computeMs: 20,
    attentionMs: 6,
    expertComputeMs: 5,
    expertHopMs: 3,
    headMs: 2,
    layers: undefined,
  }

  it('gives every millisecond of a step to exactly one part', () => {
    const { times, draftMs, durationMs } = describeStep(step, new Map(), {
      emitted: 1,
      durationMs: 30,
      forwardMs: 22,
      worker,
    })
    const { attentionMs, expertComputeMs, expertHopMs, headMs, workerRestMs, hopMs, routerMs } = times
    assert.deepEqual([workerRestMs, hopMs, routerMs], [4, 2, 4])
    const sum = attentionMs + expertComputeMs + expertHopMs + headMs + workerRestMs + hopMs + routerMs + draftMs
    assert.equal(sum, durationMs)
  })

  it('has no negative part where clocks of processes differ', () => {
    const { times } = describeStep(step, new Map(), { emitted: 0, durationMs: 10, forwardMs: 12, worker })
    assert.deepEqual([times.hopMs, times.routerMs], [0, 0])
  })
})
