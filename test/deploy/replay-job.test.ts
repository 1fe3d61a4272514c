// The example Job that replays a trace inside a cluster: what the command takes, and what the namespace lets in and out.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { V1NetworkPolicy, V1NetworkPolicyIngressRule, V1NetworkPolicyPeer, V1Pod } from '@kubernetes/client-node'
import { createProgram } from '../../cli/program.js'
import { limitsOf, promptForm, scheduleOf, type ReplayFlags } from '../../cli/replay/replay-flags.js'
import { parseGoals } from '../../replay/src/index.js'
import { repositoryRoot } from '../helpers/paths.js'
import { checkPolicy } from './checks/policy.js'
import { checkReferences } from './checks/references.js'
import { checkSchema } from './checks/schema.js'
import { ofKind, parseManifests, selects, workloads, type Manifest, type Typed } from './manifests.js'
import { golden } from './render.js'
import { makeSecrets } from './secrets.js'

describe('the Job that replays a trace', () => {
  const example = parseManifests(readFileSync(join(repositoryRoot, 'examples/kubernetes/replay-job.yaml'), 'utf8'))
  const cluster = parseManifests(golden('cpu'))
  const [job] = workloads(example)
  assert.ok(job)
  const trace: Manifest = { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'replay-trace', labels: {} } }

  it('is of Kubernetes’ form', async () => assert.deepEqual(await checkSchema(example), []))

  it('names what is there', () => {
    const named = [...cluster, ...makeSecrets(), ...example, trace].map((object) => inNamespace(object))
    assert.deepEqual(checkReferences(named), [])
  })

  it('keeps to the rules of safety, its reader too', () => {
    const found = checkPolicy([...cluster, ...example], { isForTrial: false })
    assert.deepEqual(
      found.filter((problem) => !/want a (startup|readiness|liveness) probe|other questions/.test(problem)),
      [],
    )
    const [reader] = ofKind<Typed<V1Pod>>(example, 'Pod')
    assert.deepEqual(reader?.spec?.securityContext, job.pod.securityContext)
    assert.deepEqual(reader?.spec?.containers[0]?.securityContext, job.containers[0]?.securityContext)
    assert.equal(reader?.spec?.automountServiceAccountToken, false)
  })

  it('may ask for names and routers, and is let in by them', () => {
    const policies = ofKind<Typed<V1NetworkPolicy>>([...cluster, ...example], 'NetworkPolicy')
    const out = policies.filter(
      ({ spec }) => spec?.egress !== undefined && selects(spec.podSelector?.matchLabels, job.labels),
    )
    assert.deepEqual(out.map(({ metadata }) => metadata.name).sort(), ['names', 'replay'])
    const rules = policies.find(({ metadata }) => metadata.name === 'router')?.spec?.ingress ?? []
    const isLetIn = rules
      .flatMap(peersOf)
      .some(({ podSelector: pods }) => pods && selects(pods.matchLabels, job.labels))
    assert.equal(isLetIn, true)
  })

  it('says what the command takes', () => {
    const [command, ...words] = job.containers[0]?.args ?? []
    const replay = createProgram(() => undefined).commands.find((candidate) => candidate.name() === command)
    assert.ok(replay)
    const { operands, unknown } = replay.exitOverride().parseOptions(words)
    assert.deepEqual(unknown, [])
    assert.deepEqual(operands, ['/trace/traffic.jsonl'])
    const flags = replay.opts<ReplayFlags>()
    assert.equal(flags.url, 'http://router:8000')
    assert.equal(scheduleOf(flags).pace.kind, 'recorded')
    assert.equal(promptForm(flags), 'ids')
    assert.ok(parseGoals(flags.goodput ?? ''))
    assert.ok(limitsOf(flags))
  })
})

const inNamespace = (object: Manifest): Manifest => ({
  ...object,
  metadata: { namespace: 'banyan', ...object.metadata },
})

/** The generated type calls a rule's `from` by another name. */
const peersOf = (rule: V1NetworkPolicyIngressRule & { readonly from?: V1NetworkPolicyPeer[] }): V1NetworkPolicyPeer[] =>
  rule.from ?? []
