import assert from 'node:assert/strict'
import fc from 'fast-check'
import type { Priority } from '../../../services/router/engine.js'
import type { Sequence } from '../../../services/router/sequence.js'
import { createWaitingQueue, PRIORITIES, PROMOTE_AFTER_MS } from '../../../services/router/waiting-queue.js'
import { createTestSequence, promptOf } from './sequences.js'

interface Wanted {
  readonly tenant?: string
  readonly priority?: Priority
  readonly prompt?: number
}

const sequenceOf = (id: string, { tenant = '', priority = 'normal', prompt = 1 }: Wanted = {}): Sequence => ({
  ...createTestSequence(id, promptOf(prompt)),
  tenant,
  priority,
})

type Queue = ReturnType<typeof createWaitingQueue>

function takeNext(queue: Queue, nowMs = 0): Sequence | undefined {
  const head = queue.head(nowMs)
  if (head !== undefined) queue.take(head)
  return head
}

function drain(queue: Queue, nowMs = 0): string[] {
  const ids: string[] = []
  for (let next = takeNext(queue, nowMs); next !== undefined; next = takeNext(queue, nowMs)) ids.push(next.id)
  return ids
}

const wanted = fc.record({
  tenant: fc.constantFrom('a', 'b', 'c'),
  priority: fc.constantFrom(...PRIORITIES),
  prompt: fc.integer({ min: 1, max: 50 }),
})

describe('waiting queue', () => {
  it('gives everything once, class after class, and each tenant’s in order (F1, F3)', () => {
    fc.assert(
      fc.property(fc.array(wanted, { maxLength: 60 }), (requests) => {
        const queue = createWaitingQueue()
        const all = requests.map((request, i) => sequenceOf(String(i), request))
        for (const sequence of all) queue.add(sequence, 0)
        const taken = drain(queue).map(Number)
        assert.equal(queue.size, 0)
        assert.deepEqual(
          [...taken].sort((a, b) => a - b),
          [...all.keys()],
        )
        const ranks = taken.map((i) => PRIORITIES.indexOf(requests[i]!.priority))
        assert.deepEqual(ranks, [...ranks].sort())
        for (const priority of PRIORITIES) {
          for (const tenant of ['a', 'b', 'c']) {
            const mine = taken.filter((i) => requests[i]!.tenant === tenant && requests[i]!.priority === priority)
            assert.deepEqual(
              mine,
              [...mine].sort((a, b) => a - b),
            )
          }
        }
      }),
    )
  })

  it('one tenant’s 500 requests delay another’s single one by one admission at most (F2)', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 499 }), fc.integer({ min: 1, max: 200 }), (after, prompt) => {
        const queue = createWaitingQueue()
        for (let i = 0; i < 500; i++) queue.add(sequenceOf(`a${i}`, { tenant: 'a', prompt: 10 }), 0)
        for (let i = 0; i < after; i++) {
          const admitted = takeNext(queue)
          if (admitted !== undefined) queue.served(admitted, 7)
        }
        queue.add(sequenceOf('b', { tenant: 'b', prompt }), 0)
        assert.ok([takeNext(queue)?.id, takeNext(queue)?.id].includes('b'))
      }),
    )
  })

  it('tenants that wait all the while get the same service, but for two requests’ worth (F2)', () => {
    const request = fc.record({ prompt: fc.integer({ min: 1, max: 50 }), output: fc.integer({ min: 0, max: 50 }) })
    const most = 50 + 2 * 50
    fc.assert(
      fc.property(fc.array(fc.tuple(request, request), { minLength: 20, maxLength: 60 }), (pairs) => {
        const queue = createWaitingQueue()
        const outputs = new Map<string, number>()
        const service = new Map([
          ['a', 0],
          ['b', 0],
        ])
        pairs.forEach((pair, i) =>
          pair.forEach(({ prompt, output }, tenant) => {
            const id = `${'ab'[tenant]}${i}`
            outputs.set(id, output)
            queue.add(sequenceOf(id, { tenant: 'ab'[tenant]!, prompt }), 0)
          }),
        )
        const waits = (tenant: string): boolean => queue.sequences.some((sequence) => sequence.tenant === tenant)
        while (waits('a') && waits('b')) {
          const next = takeNext(queue)!
          const output = outputs.get(next.id) ?? 0
          queue.served(next, output)
          service.set(next.tenant, service.get(next.tenant)! + next.tokens.length + 2 * output)
          assert.ok(Math.abs(service.get('a')! - service.get('b')!) <= 2 * most)
        }
      }),
    )
  })

  it('idling saves nothing up: who comes back takes turns at once, not a row of turns', () => {
    const queue = createWaitingQueue()
    const add = (tenant: string, count: number): void => {
      for (let i = 0; i < count; i++) queue.add(sequenceOf(`${tenant}${i}`, { tenant, prompt: 10 }), 0)
    }
    add('b', 1)
    drain(queue)
    add('a', 40)
    for (let i = 0; i < 20; i++) takeNext(queue)
    add('b', 10)
    const order = Array.from({ length: 10 }, () => takeNext(queue)?.tenant).join('')
    assert.ok(!order.includes('bbb'), order)
  })

  it('a low request is admitted in bounded time under an endless stream of high ones (F1)', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 20 }), fc.boolean(), (numLow, sameTenant) => {
        const queue = createWaitingQueue()
        const low = Array.from({ length: numLow }, (_, i) =>
          sequenceOf(`low${i}`, { tenant: sameTenant ? 'a' : 'b', priority: 'low' }),
        )
        for (const sequence of low) queue.add(sequence, 0)
        const boundMs = (2 + numLow) * 2 * PROMOTE_AFTER_MS
        for (let nowMs = 0; low.some((sequence) => queue.has(sequence)); nowMs += 1000) {
          assert.ok(nowMs <= boundMs, `${queue.size} still wait`)
          queue.add(sequenceOf(`high${nowMs}`, { tenant: 'a', priority: 'high' }), nowMs)
          takeNext(queue, nowMs)
        }
      }),
    )
  })

  it('a flood of low requests that waits long does not become a flood of high ones (F1)', () => {
    const queue = createWaitingQueue()
    for (let i = 0; i < 100; i++) queue.add(sequenceOf(`low${i}`, { tenant: 'a', priority: 'low' }), 0)
    for (let nowMs = 0; nowMs < 20 * PROMOTE_AFTER_MS; nowMs += 1000) queue.head(nowMs)
    queue.add(sequenceOf('high', { tenant: 'a', priority: 'high' }), 0)
    assert.ok([takeNext(queue)?.id, takeNext(queue)?.id].includes('high'))
  })

  it('what ran before comes first in its class, in the order of being put back (F4)', () => {
    const queue = createWaitingQueue()
    const [a, b, c] = [sequenceOf('a'), sequenceOf('b'), sequenceOf('c')]
    queue.add(c, 0)
    queue.add(sequenceOf('high', { priority: 'high' }), 0)
    queue.putBack([b], 0)
    queue.putBack([a], 0)
    const moved = sequenceOf('moved') // from a lost worker
    moved.tokens.push(1)
    queue.add(moved, 0)
    assert.deepEqual(drain(queue), ['high', 'a', 'b', 'moved', 'c'])
  })

  it('what is removed is gone, whatever the order', () => {
    const action = fc.record({ request: wanted, isPutBack: fc.boolean(), removes: fc.boolean() })
    fc.assert(
      fc.property(fc.array(action, { maxLength: 60 }), (actions) => {
        const queue = createWaitingQueue()
        const kept = new Set<string>()
        let nowMs = 0
        actions.forEach(({ request, isPutBack, removes }, i) => {
          nowMs += PROMOTE_AFTER_MS / 4
          const sequence = sequenceOf(String(i), request)
          if (isPutBack) queue.putBack([sequence], nowMs)
          else queue.add(sequence, nowMs)
          kept.add(sequence.id)
          queue.head(nowMs)
          if (!removes) return
          const [victim] = queue.sequences
          queue.remove(victim!)
          kept.delete(victim!.id)
          assert.equal(queue.has(victim!), false)
        })
        assert.deepEqual(drain(queue, nowMs).sort(), [...kept].sort())
        assert.deepEqual([queue.size, queue.head(nowMs)], [0, undefined])
      }),
    )
  })
})
