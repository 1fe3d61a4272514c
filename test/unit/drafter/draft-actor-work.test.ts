// Decides what the drafter hands on to its sources of hidden states, and when it drafts ahead.

import assert from 'node:assert/strict'
import { ClusterError } from '../../../lib/errors.js'
import { packF32, packI32 } from '../../../lib/wire/tensor.js'
import { drafterHandlers } from '../../../services/drafter/draft-actor.js'
import type { Drafting, DraftTask } from '../../../services/drafter/drafting.js'
import { partsOf, proposeOne, recordingDrafting, type Entry } from './drafter.js'

describe('drafterHandlers, hidden states', () => {
  const WIDTH = 4
  const ROWS = Float32Array.from({ length: 2 * WIDTH }, (_, i) => i)

  /** What the sources get of hidden states. */
  async function handedOn(rows: NonNullable<Entry['hidden']>['rows'], hidden = WIDTH) {
    const tasks: DraftTask[] = []
    const drafting = recordingDrafting((task) => tasks.push(task))
    await proposeOne(drafterHandlers({ ...partsOf(drafting, []), hidden }), {
      tokens: [1, 2, 3, 4],
      hidden: { from: 1, rows },
    })
    return tasks[0]?.hidden
  }

  it('hands them on with their place', async () => {
    assert.deepEqual(await handedOn(packF32(ROWS, [2, WIDTH])), { from: 1, rows: ROWS })
  })

  it('leaves out rows of another width than its sources read', async () => {
    assert.equal(await handedOn(packF32(ROWS, [1, 2 * WIDTH])), undefined)
    assert.equal(await handedOn(packF32(ROWS)), undefined)
  })

  it('leaves them out where no source reads them', async () => {
    assert.equal(await handedOn(packF32(ROWS, [2, WIDTH]), 0), undefined)
  })

  it('names rows of the wrong type', async () => {
    await assert.rejects(
      handedOn({ ...packI32([1, 2, 3, 4]), shape: [1, WIDTH] }),
      (error) => error instanceof ClusterError && /hidden: want dtype f32/.test(error.message),
    )
  })
})

describe('drafterHandlers, drafting ahead', () => {
  const turnOfTheLoop = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
  const turns = async (count: number): Promise<void> => {
    for (let i = 0; i < count; i++) await turnOfTheLoop()
  }

  /** A drafter that always has more to draft until it is stopped; how many waves it ran. */
  function newEager() {
    const eager = { waves: 0, isStopped: false }
    const ahead = (): boolean => {
      eager.waves += 1
      return !eager.isStopped
    }
    const drafting: Drafting = { ...recordingDrafting(() => undefined), ahead }
    return { eager, drafter: drafterHandlers(partsOf(drafting, [])) }
  }

  it('A3 drafts on after an answer, one wave in a turn of the loop', async () => {
    const { eager, drafter } = newEager()
    await proposeOne(drafter, { tokens: [1] })
    await turns(10)
    eager.isStopped = true
    assert.ok(eager.waves >= 9 && eager.waves <= 11, `${eager.waves} waves in 10 turns`)
  })

  it('stops for a proposal before when a new one comes', async () => {
    const { eager, drafter } = newEager()
    for (let i = 1; i <= 5; i++) await proposeOne(drafter, { tokens: [i] })
    await turns(10)
    eager.isStopped = true
    assert.ok(eager.waves <= 11, `${eager.waves} waves in 10 turns`)
  })

  it('stops where nothing more pays', async () => {
    const { eager, drafter } = newEager()
    eager.isStopped = true
    await proposeOne(drafter, { tokens: [1] })
    await turns(10)
    assert.equal(eager.waves, 1)
  })
})
