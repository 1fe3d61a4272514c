// The manifests of the overlay `cpu`, run: a cluster as they describe it on one machine (`kubelet/identity.ts` says what is
// replaced), with streams through the Services' addresses while every role and NATS are restarted, a node is drained and
// pods die.

import assert from 'node:assert/strict'
import { homedir } from 'node:os'
import { join } from 'node:path'
import type { V1Secret } from '@kubernetes/client-node'
import { findNatsServer } from '../../lib/transport/nats-server.js'
import { numDiffering, numTokens, type Answer } from '../chaos/answer.js'
import { openDoors, type Doors } from '../chaos/doors.js'
import { countTokens, runLoad, type Ran, type TokenCount } from '../chaos/load.js'
import { drawRequests } from '../chaos/requests.js'
import { eventually } from '../helpers/eventually.js'
import { startKube, type Kube } from './kubelet/cluster.js'
import { createAddresses, hasAddresses } from './kubelet/identity.js'
import { ofKind, parseManifests, type Manifest, type Typed } from './manifests.js'
import { golden } from './render.js'
import { makeSecrets } from './secrets.js'

const SEED = 20
const STREAMS = 16
const MAX_TOKENS = 72
const TIME_FACTOR = 0.2 // of preStop, drain, grace and the periods of probes
const NODES = ['node-a', 'node-b', 'node-c', 'node-d']
const SERVICES = ['router', 'attention', 'expert-worker', 'drafter']

describe('pods of the manifests', function () {
  this.timeout(240_000)
  const requests = drawRequests(STREAMS, SEED, { maxTokens: MAX_TOKENS })
  const runs: Ran[] = []
  let kube: Kube
  let doors: Doors
  let quiet: readonly Answer[]

  before(async function () {
    if (!(await hasAddresses())) {
      console.log('    skipped: every pod wants an address of 127.0.0.0/8, and this machine has 127.0.0.1 alone')
      this.skip()
    }
    const nats = await findNatsServer({
      binary: process.env.BANYAN_NATS_SERVER,
      path: process.env.PATH ?? '',
      cacheFolder: process.env.BANYAN_CACHE ?? join(homedir(), '.cache', 'banyan'),
      mayFetch: true,
    })
    if (nats === undefined) throw new Error('want a nats-server: install it, or set BANYAN_NATS_SERVER')
    const objects = [...parseManifests(golden('cpu')), ...makeSecrets(everyAddress())]
    kube = await startKube({ objects, nodes: NODES, timeFactor: TIME_FACTOR, natsServer: nats.binary })
    await kube.whenReady()
    doors = openDoors({
      grpc: [`${kube.serviceAddress('router-grpc')}:50051`],
      http: [`http://${kube.serviceAddress('router')}:8000`],
      apiKey: apiKeyOf(objects),
    })
  })
  after(async () => {
    doors?.close()
    await kube?.stop()
  })

  /** All streams, again and again while something happens; it begins in their middle. */
  const under = async (runId: string, happens: () => Promise<unknown>): Promise<void> => {
    const count: TokenCount = countTokens()
    let isOver = false
    const tired = AbortSignal.timeout(60_000)
    const happening = count.reached(STREAMS * 10, tired).then(happens)
    const done = happening.finally(() => void (isOver = true))
    const [load] = await Promise.allSettled([runLoad({ doors, requests, runId, count, isOver: () => isOver }), done])
    await done
    if (load.status === 'fulfilled') runs.push(...load.value)
    judge(load.status === 'fulfilled' ? load.value : [])
  }

  const judge = (ran: readonly Ran[]): void => {
    const failed = ran.flatMap(({ index, answer }) =>
      answer.problem ? [`${requests[index]?.name}: ${answer.problem}`] : [],
    )
    const differing = ran.reduce((sum, { index, answer }) => sum + numDiffering(quiet[index] ?? answer, answer), 0)
    assert.deepEqual([failed, differing], [[], 0], kube.pods.map(({ name, words }) => `${name}: ${words}`).join('\n'))
    assert.ok(ran.length >= STREAMS)
  }

  /** Nobody died, of our services nobody had to be killed, and NATS refused none of them anything. */
  const judgePods = (): void => {
    const ours = kube.pods.filter(({ workload }) => workload.isOurs)
    const isRefused = (words: string): boolean => words.includes('does not permit')
    const wrong = ours.filter(({ numRestarts, wasKilled, words }) => numRestarts > 0 || wasKilled || isRefused(words))
    assert.deepEqual(
      wrong.map(({ name, words }) => `${name}: ${words}`),
      [],
    )
  }

  it('serve', async () => {
    const ran = await runLoad({ doors, requests, runId: 'quiet' })
    quiet = ran.sort((a, b) => a.index - b.index).map(({ answer }) => answer)
    assert.deepEqual(
      quiet.map(({ problem }) => problem),
      quiet.map(() => undefined),
    )
    judgePods()
  })

  it('are all replaced under load, NATS one by one meanwhile: no request fails, no token differs', async () => {
    const before = new Set(kube.pods)
    await under('rollout', () => Promise.all([...SERVICES, 'nats'].map((name) => kube.rollout(name))))
    judgePods()
    const stayed = kube.pods.filter((pod) => before.has(pod) && !pod.isLeaving)
    assert.deepEqual(stayed, [])
    const servers = kube.pods.filter(({ workload }) => workload.name === 'nats')
    assert.deepEqual(
      servers.map((pod) => [pod.name, pod.isLeaving, pod.wasKilled]).sort(),
      [0, 1, 2].flatMap((i) => [false, true].map((isOld) => [`nats-${i}`, isOld, false])),
    )
  })

  it('leave a node that is drained under load: no request fails, no token differs', async () => {
    const [node = ''] = NODES
    const roles = new Set(
      kube.pods.filter((pod) => pod.node === node && !pod.isLeaving).map(({ workload }) => workload.name),
    )
    assert.ok(roles.size >= 3, `want pods of several workloads on ${node}, found ${[...roles].join(', ')}`)
    await under('drain', () => kube.drain(node))
    judgePods()
    assert.deepEqual(
      kube.pods.filter((pod) => pod.node === node && !pod.isLeaving),
      [],
    )
  })

  it('are started again where they die under load: no request fails, no token differs', async () => {
    const die = async (name: string): Promise<void> => {
      const pod = kube.pods.find(({ workload, isLeaving }) => workload.name === name && !isLeaving)
      pod?.crash()
      await eventually(() => pod?.numRestarts === 1 && pod.isReady, `${name} is started again and ready`, 60_000)
    }
    await under('death', async () => {
      for (const together of [['router', 'nats'], ['attention', 'drafter'], ['expert-worker']]) {
        await Promise.all(together.map(die))
      }
    })
    const restarts = kube.pods.flatMap(({ workload, numRestarts }) => (numRestarts > 0 ? [workload.name] : []))
    assert.deepEqual(restarts.sort(), [...SERVICES, 'nats'].sort())
    console.log(`      ${runs.length} requests, ${runs.reduce((sum, { answer }) => sum + numTokens(answer), 0)} tokens`)
  })
})

/** The addresses that NATS servers may get: what their certificate must name. */
function everyAddress(): string[] {
  const addresses = createAddresses()
  return Array.from({ length: 32 }, () => `IP:${addresses.next()}`)
}

function apiKeyOf(objects: readonly Manifest[]): string {
  const secret = ofKind<Typed<V1Secret>>(objects, 'Secret').find(({ metadata }) => metadata.name === 'banyan-api-keys')
  return Buffer.from(secret?.data?.['api-keys'] ?? '', 'base64')
    .toString()
    .trim()
}
