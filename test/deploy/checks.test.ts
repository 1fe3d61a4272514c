// Judges that never find anything judge nothing: each is shown manifests with one thing wrong, and must say that one.

import assert from 'node:assert/strict'
import { checkNetwork } from './checks/network.js'
import { checkPolicy } from './checks/policy.js'
import { checkReferences } from './checks/references.js'
import { adapterProblems } from './checks/scalers.js'
import { checkSchema } from './checks/schema.js'
import { queryProblems } from './checks/series.js'
import { checkSettings } from './checks/settings.js'
import { changed, parseManifests, titleOf, type Check, type Manifest } from './manifests.js'
import { golden } from './render.js'
import { makeSecrets } from './secrets.js'

const whole = [...parseManifests(golden('cpu')), ...makeSecrets()]
const CONTAINER = 'spec.template.spec.containers.0'

/** title, object, path of the field, its new value, what is said */
type Case = readonly [title: string, object: string, path: string, value: unknown, said: RegExp]

function judges(check: (objects: readonly Manifest[]) => string[] | Promise<string[]>, cases: readonly Case[]): void {
  for (const [title, object, path, value, said] of cases) {
    it(title, async () => {
      const found = await check(changed(whole, object, path, value))
      assert.ok(
        found.some((problem) => said.test(problem)),
        `want ${String(said)}, found ${JSON.stringify(found)}`,
      )
    })
  }
}

describe('the judge of forms', () => {
  judges(checkSchema, [
    ['a value of another type', 'Deployment router', 'spec.replicas', 'three', /Deployment router: .*replicas/],
    ['what must be there', 'Deployment router', 'spec.selector', undefined, /Deployment router: .*selector/],
    ['a field too many', 'Deployment router', 'spec.replica', 3, /no such field \.spec\.replica$/],
    ['deep inside', 'StatefulSet nats', `${CONTAINER}.imge`, 'x', /no such field .*containers\[0\]\.imge$/],
    [
      'a kind of an older version',
      'HorizontalPodAutoscaler router',
      'apiVersion',
      'autoscaling/v2beta2',
      /no such kind/,
    ],
  ])

  const custom: readonly (readonly [string, Manifest & { readonly spec: unknown }, RegExp])[] = [
    [
      'KEDA’s: a field too many',
      {
        apiVersion: 'keda.sh/v1alpha1',
        kind: 'ScaledObject',
        metadata: { name: 'router', labels: { any: 'label' } },
        spec: {
          scaleTargetRef: { name: 'router' },
          triggers: [{ type: 'cpu', metadata: { value: '1' } }],
          minReplicas: 1,
        },
      },
      /^ScaledObject router: no such field \.spec\.minReplicas$/,
    ],
    [
      'Prometheus’: without a selector',
      {
        apiVersion: 'monitoring.coreos.com/v1',
        kind: 'ServiceMonitor',
        metadata: { name: 'x' },
        spec: { endpoints: [] },
      },
      /^ServiceMonitor x: .*selector/,
    ],
    [
      'the Gateway’s: a field too many',
      {
        apiVersion: 'gateway.networking.k8s.io/v1',
        kind: 'HTTPRoute',
        metadata: { name: 'x' },
        spec: { rules: [{ backendRefs: [{ name: 'router', port: 8000, wait: 1 }] }] },
      },
      /no such field \.spec\.rules\[0\]\.backendRefs\[0\]\.wait$/,
    ],
  ]
  for (const [title, object, said] of custom) {
    it(title, async () => {
      const found = await checkSchema([object])
      assert.equal(found.length, 1)
      assert.match(found[0] ?? '', said)
    })
  }
})

describe('the judge of names', () => {
  const without = (title: string): Manifest[] => whole.filter((object) => titleOf(object) !== title)
  judges(checkReferences, [
    [
      'a selector that takes other pods',
      'Deployment router',
      'spec.selector.matchLabels',
      { 'app.kubernetes.io/name': 'banyan' },
      /takes pods of StatefulSet attention/,
    ],
    [
      'pods that their selector does not take',
      'Deployment router',
      'spec.template.metadata.labels',
      {},
      /does not take its own/,
    ],
    [
      'a Service of nobody',
      'Service drafter',
      'spec.selector',
      { app: 'drafter' },
      /Service drafter: want the pods of one/,
    ],
    [
      'a Service of two',
      'Service drafter',
      'spec.selector',
      { 'app.kubernetes.io/name': 'banyan' },
      /Service drafter: want the pods of one/,
    ],
    ['a port that nobody opens', 'Service router', 'spec.ports.0.targetPort', 'htpp', /has no port htpp/],
    [
      'a Service of a StatefulSet',
      'StatefulSet attention',
      'spec.serviceName',
      'router',
      /want a headless Service router/,
    ],
    ['a budget that nothing passes', 'PodDisruptionBudget router', 'spec.maxUnavailable', 0, /nodes can be drained/],
    ['a budget of everybody', 'PodDisruptionBudget router', 'spec.selector', {}, /want the pods of one/],
    [
      'another namespace',
      'Service router',
      'metadata.namespace',
      'default',
      /want a namespace that is there, found default/,
    ],
    [
      'a ConfigMap',
      'Deployment router',
      `${CONTAINER}.envFrom.0.configMapRef.name`,
      'settings',
      /want ConfigMap settings/,
    ],
    [
      'a key of a Secret',
      'Deployment router',
      `${CONTAINER}.env.5.valueFrom.secretKeyRef.key`,
      'routers',
      /want key routers in Secret/,
    ],
    [
      'a key that is mounted',
      'Deployment router',
      'spec.template.spec.volumes.2.secret.items.0.key',
      'ca.pem',
      /want key ca\.pem/,
    ],
    [
      'a volume that is none',
      'Deployment router',
      `${CONTAINER}.volumeMounts.0.name`,
      'temp',
      /mounts temp, which is no volume/,
    ],
    ['a volume for nobody', 'Deployment router', `${CONTAINER}.volumeMounts`, [], /volume tmp is mounted nowhere/],
    [
      'a service account',
      'Deployment router',
      'spec.template.spec.serviceAccountName',
      'routers',
      /want ServiceAccount routers/,
    ],
    [
      'a class of priority',
      'Deployment router',
      'spec.template.spec.priorityClassName',
      'high',
      /want PriorityClass high/,
    ],
    [
      'an autoscaler of nobody',
      'HorizontalPodAutoscaler router',
      'spec.scaleTargetRef.kind',
      'StatefulSet',
      /want StatefulSet router/,
    ],
    ['an autoscaler beside a number', 'Deployment router', 'spec.replicas', 3, /says its own number/],
    [
      'an autoscaler’s series',
      'HorizontalPodAutoscaler attention',
      'spec.metrics.0.object.metric.name',
      'waiting',
      /nobody gives it the metric waiting/,
    ],
  ])
  it('what is missing altogether', () => {
    assert.deepEqual(checkReferences(without('PersistentVolumeClaim models')).length, 4, 'each role names it')
    assert.ok(checkReferences(without('Secret nats-tls')).length >= 5)
  })
  it('twice the same', () => assert.match(checkReferences([...whole, whole[0]!]).join(), /: twice/))
})

describe('the judge of settings', () => {
  const settings = whole.find(
    ({ kind, metadata }) => kind === 'ConfigMap' && metadata.name?.startsWith('banyan-settings'),
  )
  const map = settings === undefined ? '' : titleOf(settings)
  judges(checkSettings, [
    ['a name that nothing reads', map, 'data.BANYAN_EXPERT', '2', /nothing reads BANYAN_EXPERT$/],
    [
      'a value that is none',
      map,
      'data.BANYAN_WEIGHTS',
      'int5',
      /weights: want f32, f16, int8, int4, int8-auto or int4-auto, found "int5"/,
    ],
    ['a path that is not mounted', map, 'data.BANYAN_MODEL', '/model/current', /nothing is mounted at \/model/],
    ['a file that is not mounted', map, 'data.BANYAN_NATS_TLS_CA', '/etc/banyan/nats/ca.pem', /no file/],
    ['a port that is another', map, 'data.BANYAN_METRICS_PORT', '9091', /want port metrics at 9091/],
    [
      'a port that nobody opens',
      'StatefulSet attention',
      `${CONTAINER}.ports.0.name`,
      'grpc',
      /nothing opens port grpc/,
    ],
    ['doors on loopback', map, 'data.BANYAN_HOST', '127.0.0.1', /Deployment router: want its ports open/],
    [
      'a probe that nobody answers',
      'Deployment router',
      `${CONTAINER}.readinessProbe.httpGet.path`,
      '/healthz',
      /readinessProbe: nobody answers/,
    ],
    [
      'a probe of another port',
      'StatefulSet attention',
      `${CONTAINER}.livenessProbe.httpGet.port`,
      'link',
      /livenessProbe: nobody answers/,
    ],
    [
      'liveness that asks for others',
      'StatefulSet attention',
      `${CONTAINER}.livenessProbe.httpGet.path`,
      '/ready',
      /depends on nobody/,
    ],
    [
      'a start that waits for others',
      'StatefulSet attention',
      `${CONTAINER}.startupProbe.httpGet.path`,
      '/ready',
      /startupProbe: want \/health/,
    ],
    ['a drain beyond the grace', map, 'data.BANYAN_DRAIN_SECONDS', '45', /preStop 0 s and drain 45 s/],
    [
      'a sleep beyond the grace',
      'Deployment router',
      `${CONTAINER}.lifecycle.preStop.sleep.seconds`,
      40,
      /preStop 40 s/,
    ],
    [
      'a password that NATS is not given',
      'StatefulSet nats',
      `${CONTAINER}.env.2.name`,
      'BANYAN_NATS_PASSWORD',
      /asks for BANYAN_NATS_ROUTER_PASSWORD/,
    ],
    [
      'a lame duck that outlives its pod',
      'StatefulSet nats',
      'spec.template.spec.terminationGracePeriodSeconds',
      30,
      /lame duck 35 s/,
    ],
  ])
})

describe('the judge of connections', () => {
  judges(checkNetwork, [
    ['one that is needed', 'NetworkPolicy attention', 'spec.egress', [], /want attention → nats client allowed/],
    [
      'one that lacks the other end',
      'NetworkPolicy nats',
      'spec.ingress.0.from.0.podSelector.matchLabels',
      { app: 'x' },
      /want router → nats client/,
    ],
    ['one too many', 'NetworkPolicy router', 'spec.ingress.0.from', [], /nobody needs stranger → router http/],
    ['to everywhere', 'NetworkPolicy drafter', 'spec.egress.1', {}, /nobody needs drafter → stranger https/],
    [
      'to addresses',
      'NetworkPolicy drafter',
      'spec.egress.1',
      { to: [{ ipBlock: { cidr: '0.0.0.0/0' } }] },
      /drafter → stranger/,
    ],
    ['a port by number', 'NetworkPolicy nats', 'spec.ingress.0.ports.0.port', 8222, /want router → nats client/],
    ['names', 'NetworkPolicy names', 'spec.egress.0.ports', [{ protocol: 'TCP', port: 53 }], /want router → dns dns/],
    [
      'a side that is not closed',
      'NetworkPolicy drafter',
      'spec.policyTypes',
      ['Ingress'],
      /want drafter → nats client/,
    ],
  ])
  it('to somebody who is not there', () => {
    const peer = { podSelector: { matchLabels: { app: 'nobody' } } }
    const found = checkNetwork(changed(whole, 'NetworkPolicy drafter', 'spec.egress.1', { to: [peer] }))
    assert.match(found.join(), /NetworkPolicy drafter: leads to nobody/)
  })
  it('a namespace without policies', () => {
    const found = checkNetwork(whole.filter(({ kind }) => kind !== 'NetworkPolicy'))
    assert.ok(
      found.includes('NetworkPolicies: nobody needs stranger → nats client, and it is allowed'),
      found.join('\n'),
    )
  })
})

describe('the judge of safety', () => {
  const check: Check = (objects) => checkPolicy(objects, { isForTrial: false })
  const POD = 'spec.template.spec'
  judges(check, [
    ['args in one', 'Deployment router', `${CONTAINER}.args`, ['serve router'], /want args: \[serve, router\]/],
    ['args of another role', 'Deployment router', `${CONTAINER}.args`, ['serve', 'drafter'], /want args/],
    ['a command of its own', 'Deployment router', `${CONTAINER}.command`, ['node'], /want args/],
    ...['startup', 'readiness', 'liveness'].map((probe): Case => [
      `no ${probe} probe`,
      'StatefulSet nats',
      `${CONTAINER}.${probe}Probe`,
      undefined,
      new RegExp(`want a ${probe} probe`),
    ]),
    ['no requests', 'StatefulSet nats', `${CONTAINER}.resources.requests`, undefined, /want requests/],
    ['no limit of memory', 'Deployment router', `${CONTAINER}.resources.limits`, {}, /want a limit of memory/],
    [
      'more asked for than the limit',
      'Deployment router',
      `${CONTAINER}.resources.requests.memory`,
      '2Gi',
      /want no more memory/,
    ],
    ['root', 'Deployment router', `${CONTAINER}.securityContext.runAsNonRoot`, false, /want a user that is not root/],
    [
      'a root that can be written',
      'Deployment router',
      `${CONTAINER}.securityContext.readOnlyRootFilesystem`,
      undefined,
      /want a read-only root/,
    ],
    [
      'escalation',
      'Deployment router',
      `${CONTAINER}.securityContext.allowPrivilegeEscalation`,
      undefined,
      /want no escalation/,
    ],
    ['privilege', 'Deployment router', `${CONTAINER}.securityContext.privileged`, true, /want no privilege/],
    [
      'capabilities',
      'Deployment router',
      `${CONTAINER}.securityContext.capabilities`,
      { drop: ['ALL'], add: ['NET_ADMIN'] },
      /none added/,
    ],
    [
      'no profile',
      'Deployment router',
      `${CONTAINER}.securityContext.seccompProfile`,
      { type: 'Unconfined' },
      /seccomp/,
    ],
    ['latest', 'Deployment router', `${CONTAINER}.image`, 'banyan:latest', /a tag that is not latest/],
    ['no tag', 'Deployment router', `${CONTAINER}.image`, 'host:5000/banyan', /a tag that is not latest/],
    ['no grace', 'Deployment router', `${POD}.terminationGracePeriodSeconds`, undefined, /want a grace period/],
    ['a token', 'Deployment router', `${POD}.automountServiceAccountToken`, undefined, /automountServiceAccountToken/],
    ['the host’s network', 'Deployment router', `${POD}.hostNetwork`, true, /want nothing of the host/],
    [
      'the host’s disk',
      'Deployment router',
      `${POD}.volumes.0`,
      { name: 'tmp', hostPath: { path: '/' } },
      /no path of the host/,
    ],
    ['a port of the host', 'Deployment router', `${CONTAINER}.ports.0.hostPort`, 80, /no port of the host/],
    ['a folder without a bound', 'Deployment router', `${POD}.volumes.0.emptyDir`, {}, /a bound for every emptyDir/],
    ['no spreading', 'Deployment router', `${POD}.topologySpreadConstraints`, [], /want spreading/],
    [
      'a budget of another role',
      'PodDisruptionBudget router',
      'spec.selector.matchLabels.app~kubernetes~io/component',
      'x',
      /want a PodDisruptionBudget/,
    ],
    ['a policy for all alone', 'NetworkPolicy router', 'spec.podSelector', {}, /want a NetworkPolicy of its own/],
    ['no autoscaler', 'HorizontalPodAutoscaler router', 'spec.scaleTargetRef.name', 'x', /want an autoscaler/],
    ['an open namespace', 'Namespace banyan', 'metadata.labels', {}, /enforce: restricted/],
    ['rights', 'ServiceAccount router', 'kind', 'ClusterRoleBinding', /no pod needs rights/],
    ['a role less', 'Deployment drafter', 'spec.template.metadata.labels', {}, /^drafter: want a workload/],
  ])
  it('a digest is as good as a tag', () => {
    const image = `banyan@sha256:${'0'.repeat(64)}`
    assert.deepEqual(check(changed(whole, 'Deployment router', `${CONTAINER}.image`, image)), [])
  })
})

describe('the judge of series', () => {
  it('knows series and their labels, those of histograms too', () => {
    assert.deepEqual(queryProblems('sum(rate(banyan:step_seconds_bucket{le="1", pod="x"}[1m]))'), [])
    assert.deepEqual(queryProblems('banyan:step_seconds'), ['nobody exports banyan:step_seconds'])
    assert.deepEqual(queryProblems('banyan:processes{rolle="router"}'), ['banyan:processes has no label rolle'])
  })
  it('reads what prometheus-adapter is told', () => {
    const rule = { seriesQuery: 'banyan:waiting{namespace!=""}', name: { as: 'waiting' }, metricsQuery: 'sum(x)' }
    assert.equal(adapterProblems([rule]).length, 2)
  })
})
