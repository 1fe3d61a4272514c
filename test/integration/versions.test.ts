// Builds that speak different versions of the frame in one cluster, and the change from one to the other under load: no
// stream fails, and every token is that of a cluster of one build.

import assert from 'node:assert/strict'
import { eventually } from '../helpers/eventually.js'
import { startNatsForTest, type TestNats } from '../helpers/nats.js'
import { streamsDuring } from '../helpers/streams-during.js'
import { startTestCluster, type Build, type TestCluster } from '../helpers/test-cluster.js'
import { watchVersions } from '../helpers/watch-versions.js'

const ONE = { lowest: 1, highest: 1 }
const BOTH = { lowest: 1, highest: 2 }
const NEW: Build = { speaks: BOTH, reads: BOTH }
const OLD: Build = { speaks: ONE, reads: ONE } // knows of no later version
const CAPPED: Build = { speaks: ONE, reads: BOTH } // `--wire-version 1`

describe('versions of the frame in one cluster', function () {
  this.timeout(120_000)
  let nats: TestNats
  let quiet: readonly (readonly number[])[]
  let received: Map<string, Set<number>>

  const start = (versions: (id: string) => Build, shape: { readonly routers?: number; readonly attention?: number }) =>
    startTestCluster({
      ...shape,
      nats: nats.url,
      replicas: 2,
      versions,
      wrap: (id, transport) => {
        const seen = received.get(id) ?? new Set()
        received.set(id, seen)
        const note = (version: number): void => void seen.add(version)
        return watchVersions(transport, { sent: () => undefined, received: note })
      },
    })
  const versionsTo = (id: string): number[] => [...(received.get(id) ?? [])].sort()
  const doorsOf = (cluster: TestCluster) => (): readonly string[] => cluster.routers.map(({ grpc }) => grpc)
  const protocols = async ({ routers: [router] }: TestCluster): Promise<Readonly<Record<string, unknown>>> => {
    const { processes } = (await (await fetch(`${router?.http}/cluster`)).json()) as {
      readonly processes: readonly { readonly id: string; readonly protocol: unknown }[] // the documented form
    }
    return Object.fromEntries(processes.map(({ id, protocol }) => [id, protocol]))
  }

  before(async () => {
    received = new Map()
    nats = await startNatsForTest()
    const cluster = await start(() => NEW, {})
    const [round = []] = await streamsDuring(doorsOf(cluster), () => Promise.resolve())
    quiet = round
    await cluster.stop()
    for (const id of ['attention-0', 'expert-worker-0', 'expert-worker-1', 'drafter-0']) {
      assert.ok(versionsTo(id).includes(2), `${id} is spoken to in version 2`)
    }
  })
  after(() => nats.stop())
  beforeEach(() => {
    received = new Map()
  })

  const mixtures: readonly Readonly<Record<string, Build>>[] = [
    { 'attention-0': OLD, 'expert-worker-0': OLD, 'drafter-0': CAPPED },
    { 'router-0': CAPPED, 'expert-worker-1': OLD },
  ]
  for (const older of mixtures) {
    it(`give the same tokens where ${Object.keys(older).join(', ')} speak version 1 alone`, async () => {
      const cluster = await start((id) => older[id] ?? NEW, {})
      try {
        for (const round of await streamsDuring(doorsOf(cluster), () => Promise.resolve())) {
          assert.deepEqual(round, quiet)
        }
        for (const id of Object.keys(older)) assert.deepEqual(versionsTo(id), [1], `${id} hears version 1 alone`)
        for (const [id, protocol] of Object.entries(await protocols(cluster))) {
          assert.deepEqual(protocol, id in older ? ONE : BOTH, id)
        }
      } finally {
        await cluster.stop()
      }
    })
  }

  it('change one process at a time, up and down, under load', async () => {
    const older = new Set(['router-0', 'router-1', 'attention-0', 'attention-1', 'expert-worker-0', 'expert-worker-1'])
    older.add('drafter-0')
    const all = [...older]
    const cluster = await start((id) => (older.has(id) ? OLD : NEW), { routers: 2, attention: 2 })
    let leaving: number | undefined // a router that takes no more requests
    let numAsked = 0
    const doors = (): readonly string[] => {
      numAsked += 1
      return doorsOf(cluster)().filter((_, index) => index !== leaving)
    }

    const restart = async (id: string): Promise<void> => {
      const [, role = '', index = ''] = /^(.*)-(\d+)$/.exec(id) ?? []
      if (role === 'router') {
        leaving = Number(index)
        const before = numAsked
        await eventually(() => numAsked > before, 'the streams that were on their way there have ended')
        await cluster.restartRouter(leaving)
        leaving = undefined
        return
      }
      await cluster.drainService(id)
      assert.equal(await cluster.addService(role as 'attention' | 'drafter' | 'expert-worker'), id)
    }
    const change = async (): Promise<void> => {
      for (const id of [...all].reverse()) {
        older.delete(id)
        await restart(id)
      }
      for (const id of all.filter((name) => name.endsWith('-1'))) {
        older.add(id)
        await restart(id)
      }
    }
    try {
      const rounds = await streamsDuring(doors, change)
      assert.ok(rounds.length > 1, 'streams ran meanwhile')
      for (const round of rounds) assert.deepEqual(round, quiet)
      for (const id of all.filter((name) => name.endsWith('-0') && !name.startsWith('router'))) {
        assert.ok(versionsTo(id).includes(2), `${id} came to be spoken to in version 2`)
      }
      for (const [id, protocol] of Object.entries(await protocols(cluster))) {
        assert.deepEqual(protocol, older.has(id) ? ONE : BOTH, id)
      }
    } finally {
      await cluster.stop()
    }
  })
})
