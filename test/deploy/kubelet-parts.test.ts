// The kubelet in small, on processes that misbehave: what it would hide, the test with real services could not find.

import assert from 'node:assert/strict'
import type { V1Container, V1Service } from '@kubernetes/client-node'
import { eventually } from '../helpers/eventually.js'
import { createAddresses, hasAddresses } from './kubelet/identity.js'
import { startPod, type Pod } from './kubelet/pod.js'
import { chooseNode, mayEvict } from './kubelet/scheduling.js'
import { startService } from './kubelet/service.js'
import { parseManifests, workloads, type Labels, type Typed, type Workload } from './manifests.js'

const addresses = createAddresses(78)
const PORT = 8000
const probe = (path: string) => ({ httpGet: { path, port: 'http' }, periodSeconds: 0.1, failureThreshold: 2 })

const container: V1Container = {
  name: 'web',
  ports: [{ name: 'http', containerPort: PORT }],
  startupProbe: { ...probe('/health'), failureThreshold: 100 },
  readinessProbe: probe('/ready'),
  livenessProbe: probe('/health'),
  lifecycle: { preStop: { sleep: { seconds: 0.3 } } },
}

/** Answers with its name. `/switch/ready` and `/switch/health` make those pages fail from then on. */
const SERVER = `
const failing = new Set()
require('node:http').createServer((request, response) => {
  const [, verb, page] = request.url.split('/')
  if (verb === 'switch') failing.add('/' + page)
  response.writeHead(failing.has(request.url) ? 503 : 200).end(process.env.NAME)
}).listen(${PORT}, process.env.IP)
process.on('SIGTERM', () => process.env.STUBBORN || process.exit(0))`

describe('the kubelet in small', () => {
  const pods: Pod[] = []
  before(async function () {
    if (!(await hasAddresses())) this.skip()
  })
  afterEach(async () => {
    await Promise.all(pods.splice(0).map((pod) => pod.stop()))
  })

  const workload = (graceSeconds = 5): Workload => ({
    manifest: { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name: 'web' } },
    title: 'Deployment web',
    name: 'web',
    replicas: 2,
    selector: { app: 'web' },
    labels: { app: 'web' },
    pod: { containers: [container], terminationGracePeriodSeconds: graceSeconds },
    containers: [container],
    claims: [],
    isOurs: false,
  })
  const run = (name: string, { env = {}, graceSeconds }: { env?: Labels; graceSeconds?: number } = {}): Pod => {
    const identity = { name, ip: addresses.next(), node: 'node', labels: { app: 'web' } }
    const words = [process.execPath, '-e', SERVER]
    const all = { ...env, NAME: name, IP: identity.ip, PATH: process.env.PATH ?? '' }
    const spec = { words, env: all, folder: undefined, translate: (word: string) => word }
    const pod = startPod({ workload: workload(graceSeconds), container, identity, spec, timeFactor: 1 })
    pods.push(pod)
    return pod
  }
  const ask = async (address: string, path = '/'): Promise<string> =>
    (await fetch(`http://${address}:${PORT}${path}`, { headers: { connection: 'close' } })).text()
  const isReady = (pod: Pod): Promise<void> => eventually(() => pod.isReady, `${pod.name} is ready`, 10_000)

  it('a pod is ready when it says so, and no more when it says that it is not', async () => {
    const pod = run('one')
    assert.equal(pod.isReady, false)
    await isReady(pod)
    await ask(pod.ip, '/switch/ready')
    await eventually(() => !pod.isReady, 'it is not ready', 5_000)
    assert.equal(pod.numRestarts, 0)
  })

  it('one that does not live is started again, and that is counted', async () => {
    const pod = run('one')
    await isReady(pod)
    await ask(pod.ip, '/switch/health')
    await eventually(() => pod.numRestarts === 1, 'it was started again', 5_000)
    await isReady(pod)
  })

  it('one that leaves is not ready from the first moment, hears of it after its sleep, and goes by itself', async () => {
    const pod = run('one')
    await isReady(pod)
    const startedMs = performance.now()
    const gone = pod.leave()
    assert.equal(pod.isReady, false)
    assert.equal(await ask(pod.ip), 'one', 'it still answers')
    await gone
    assert.ok(performance.now() - startedMs >= 300)
    assert.equal(pod.wasKilled, false)
    assert.equal(pod.numRestarts, 0)
  })

  it('one that will not go is killed when its grace is over', async () => {
    const pod = run('one', { env: { STUBBORN: 'yes' }, graceSeconds: 0.6 })
    await isReady(pod)
    await pod.leave()
    assert.ok(pod.wasKilled)
  })

  it('a Service leads to ready pods in turn, and a connection stays where it is', async () => {
    const [one, two] = [run('one'), run('two')]
    await Promise.all([one, two].map(isReady))
    const spec = { selector: { app: 'web' }, ports: [{ port: PORT, targetPort: 'http' }] }
    const object: Typed<V1Service> = { apiVersion: 'v1', kind: 'Service', metadata: { name: 'web' }, spec }
    const service = await startService(object, addresses.next(), () => pods)
    try {
      assert.deepEqual([await ask(service.address), await ask(service.address)].sort(), ['one', 'two'])
      await ask(one.ip, '/switch/ready')
      await eventually(() => !one.isReady, 'one is not ready', 5_000)
      assert.deepEqual([await ask(service.address), await ask(service.address)], ['two', 'two'])
      await two.leave()
      await assert.rejects(ask(service.address), 'nobody is ready')
    } finally {
      await service.close()
    }
  })

  describe('places and evicts', () => {
    const yaml = `
apiVersion: apps/v1
kind: StatefulSet
metadata: { name: apart }
spec:
  replicas: 2
  template:
    metadata: { labels: { app: apart } }
    spec:
      containers: [{ name: x }]
      affinity:
        podAntiAffinity:
          requiredDuringSchedulingIgnoredDuringExecution:
            - { topologyKey: kubernetes.io/hostname, labelSelector: { matchLabels: { app: apart } } }
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: { name: apart }
spec: { maxUnavailable: 1, selector: { matchLabels: { app: apart } } }`
    const objects = parseManifests(yaml)
    const [apart] = workloads(objects)
    assert.ok(apart !== undefined)
    const pod = (name: string, node: string, isReadyNow = true): Pod => ({
      ...{ name, node, ip: '', labels: apart.labels, workload: apart, isReady: isReadyNow, isLeaving: false },
      ...{
        numRestarts: 0,
        wasKilled: false,
        words: '',
        crash: () => undefined,
        leave: async () => {},
        stop: async () => {},
      },
    })
    const nodes = (cordoned?: string) => ['a', 'b'].map((name) => ({ name, isCordoned: name === cordoned }))

    it('never two on a node that must be apart, none on one that is drained', () => {
      assert.equal(chooseNode(apart, nodes(), [pod('apart-0', 'a')]), 'b')
      assert.equal(chooseNode(apart, nodes('b'), [pod('apart-0', 'a')]), undefined)
      assert.equal(chooseNode(apart, nodes('b'), []), 'a')
    })
    it('one at a time where the budget says so', () => {
      const [zero, one] = [pod('apart-0', 'a'), pod('apart-1', 'b')]
      assert.ok(mayEvict(zero, [zero, one], 2, objects))
      assert.ok(!mayEvict(zero, [zero, pod('apart-1', 'b', false)], 2, objects))
      assert.ok(!mayEvict(zero, [zero], 2, objects))
    })
  })
})
