import assert from 'node:assert/strict'
import type { ClusterError } from '../../../lib/errors.js'
import type { Heartbeat } from '../../../lib/wire/messages.js'
import {
  createDeviceClasses,
  LOST_AFTER_MS,
  PATIENCE_MS,
  type DeviceClasses,
} from '../../../services/router/device-classes.js'
import { createMembership, type Membership } from '../../../services/router/membership.js'

const heartbeat = (id: string, deviceClass: string, changes: Partial<Heartbeat> = {}): Heartbeat => ({
  kind: 'worker.heartbeat',
  role: id.startsWith('attention') ? 'attention' : id.startsWith('router') ? 'router' : 'expert-worker',
  id,
  incarnation: `${id} 1`,
  pid: 1,
  state: 'ready',
  deviceClass,
  fingerprint: 'f',
  shards: [],
  capacity: { kvTokens: 0, maxRows: 0 },
  load: {},
  ...changes,
})

/** One router's view; the test says what it hears. */
interface View {
  readonly classes: DeviceClasses
  readonly membership: Membership
  readonly changes: string[]
  readonly givenUp: ClusterError[]
  numOpen: number
  isLead: boolean
  isStuck: boolean
  hear(...heartbeats: readonly Heartbeat[]): void
  tick(ms: number): void
}

function createView(id: string): View {
  const membership = createMembership()
  let nowMs = 0
  const view: View = {
    membership,
    changes: [],
    givenUp: [],
    numOpen: 0,
    isLead: true,
    isStuck: false,
    classes: createDeviceClasses({
      membership,
      fingerprint: 'f',
      isStuck: () => view.isStuck,
      isLead: () => view.isLead,
      now: () => 1_000 + nowMs,
      numOpen: () => view.numOpen,
      onChange: (classes) => view.changes.push(classes),
      onGivenUp: (error) => view.givenUp.push(error),
    }),
    hear: (...heartbeats) => {
      for (const one of heartbeats) {
        view.classes.observe(one)
        membership.observe(one, nowMs)
      }
    },
    tick: (ms) => {
      for (const endMs = nowMs + ms; nowMs < endMs;) {
        nowMs += 1_000
        view.hear(heartbeat(id, 'none', { load: { open: view.numOpen } }))
        view.classes.tick(nowMs)
      }
    },
  }
  return view
}

describe('device classes', () => {
  const mixed = [heartbeat('attention-0', 'gpu'), heartbeat('expert-0', 'cpu'), heartbeat('expert-1', 'cpu')]

  it('names one class for attention and one for experts, once where they are the same', () => {
    const view = createView('router-0')
    assert.equal(view.classes.name(), 'none')
    view.hear(...mixed)
    assert.equal(view.classes.name(), 'gpu+cpu')
    assert.ok(mixed.every((worker) => view.classes.accepts(worker)))
    const alike = createView('router-0')
    alike.hear(heartbeat('expert-0', 'cpu'), heartbeat('attention-0', 'cpu'))
    assert.equal(alike.classes.name(), 'cpu')
  })

  it('holds others in reserve, also while all of the class that serves are away', () => {
    const view = createView('router-0')
    view.hear(...mixed, heartbeat('expert-2', 'gpu'), heartbeat('expert-3', 'gpu', { fingerprint: 'other' }))
    assert.deepEqual(view.classes.reserve(), ['expert-2'])
    assert.deepEqual(view.classes.reserve('attention'), [])
    view.hear(heartbeat('expert-0', 'cpu', { state: 'stopped' }))
    view.tick(2 * PATIENCE_MS)
    assert.equal(view.classes.name(), 'gpu+cpu', 'one of the class is left')
    view.classes.checkServing()
  })

  it('without open requests the reserve serves soon after the last worker of a class went, and stays', () => {
    const view = createView('router-0')
    view.hear(...mixed, heartbeat('expert-2', 'gpu'))
    const gone = ['expert-0', 'expert-1'].map((id) => heartbeat(id, 'cpu', { state: 'stopped' }))
    view.hear(...gone)
    view.tick(LOST_AFTER_MS - 1_000)
    assert.equal(view.classes.name(), 'gpu+cpu')
    view.tick(3_000)
    assert.equal(view.classes.name(), 'gpu')
    assert.deepEqual(view.changes, ['gpu'])
    view.hear(heartbeat('expert-0', 'cpu', { incarnation: 'expert-0 2' }))
    view.tick(2 * PATIENCE_MS)
    assert.equal(view.classes.name(), 'gpu')
    assert.deepEqual(view.classes.reserve(), ['expert-0'])
  })

  it('an open request waits for its class, is then given up, and only then others serve (D2)', () => {
    const view = createView('router-0')
    view.hear(...mixed, heartbeat('expert-2', 'gpu'))
    view.numOpen = 1
    view.hear(...['expert-0', 'expert-1'].map((id) => heartbeat(id, 'cpu', { state: 'stopped' })))
    view.tick(PATIENCE_MS - 2_000)
    assert.equal(view.classes.name(), 'gpu+cpu')
    assert.equal(view.givenUp.length, 0)
    assert.throws(() => view.classes.checkServing(), /device class cpu: no expert-worker of it is there/)
    view.tick(4_000)
    const [error] = view.givenUp
    assert.deepEqual([error?.code, error?.details.reason], ['unavailable', 'DEVICE_CLASS_LOST'])
    assert.equal(view.classes.name(), 'gpu+cpu')
    view.numOpen = 0
    view.tick(2_000)
    assert.equal(view.classes.name(), 'gpu')
    view.classes.checkServing()
  })

  it('a class whose workers live but cannot hold the experts gives way, with patience', () => {
    const view = createView('router-0')
    view.hear(...mixed)
    view.isStuck = true
    view.tick(2 * PATIENCE_MS)
    view.classes.checkServing()
    view.hear(heartbeat('expert-2', 'gpu'))
    view.isStuck = false
    view.tick(2_000)
    view.isStuck = true
    view.tick(PATIENCE_MS - 2_000)
    view.isStuck = false
    view.tick(1_000)
    view.isStuck = true
    view.numOpen = 1
    view.tick(PATIENCE_MS + 2_000)
    assert.throws(() => view.classes.checkServing(), /device class cpu: what is there of it cannot hold the experts/)
    assert.deepEqual([view.classes.name(), view.givenUp.length > 0], ['gpu+cpu', true])
    view.numOpen = 0
    view.tick(2_000)
    assert.equal(view.classes.name(), 'gpu')
  })

  it('a class that comes back in time goes on', () => {
    const view = createView('router-0')
    view.hear(...mixed, heartbeat('expert-2', 'gpu'))
    view.numOpen = 1
    view.hear(...['expert-0', 'expert-1'].map((id) => heartbeat(id, 'cpu', { state: 'stopped' })))
    view.tick(PATIENCE_MS - 5_000)
    view.hear(heartbeat('expert-0', 'cpu', { incarnation: 'expert-0 2' }))
    view.tick(1_000)
    view.classes.checkServing()
    assert.deepEqual([view.classes.name(), view.givenUp], ['gpu+cpu', []])
  })

  it('routers go by what the lead says, whoever they heard first, and wait for each other’s requests (D3)', () => {
    const [lead, other] = [createView('router-0'), createView('router-1')]
    other.isLead = false
    const [x, y] = [heartbeat('expert-0', 'x'), heartbeat('expert-1', 'y')]
    lead.hear(heartbeat('attention-0', 'x'), x, y)
    other.hear(heartbeat('attention-0', 'x'), y, x)
    const exchange = (): void => {
      for (const [from, to] of [
        [lead, other],
        [other, lead],
      ] as const) {
        from.tick(1_000)
        const { agreed } = from.classes
        const classes = agreed && { version: agreed.version, ...agreed.value }
        const id = from === lead ? 'router-0' : 'router-1'
        to.hear(heartbeat(id, 'none', { load: { open: from.numOpen }, ...(classes && { classes }) }))
      }
    }
    exchange()
    assert.deepEqual([lead.classes.name(), other.classes.name()], ['x', 'x'])
    assert.deepEqual([lead.changes, other.changes], [[], ['x']])
    other.numOpen = 1
    for (const view of [lead, other]) view.hear({ ...x, state: 'stopped' })
    for (let i = 0; i < 20; i++) exchange()
    assert.equal(lead.classes.name(), 'x', 'the other router has an open request')
    other.numOpen = 0
    for (let i = 0; i < 3; i++) exchange()
    assert.deepEqual([lead.classes.name(), other.classes.name()], ['x+y', 'x+y'])
    assert.deepEqual(other.changes, ['x', 'x+y'])
  })
})
