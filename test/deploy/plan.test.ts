// `banyan deploy plan` as it is called: what it prints, what it writes, and that the overlays it writes render in silence
// and pass every check that the kept ones pass.

import assert from 'node:assert/strict'
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { runCli, type Outcome } from '../helpers/cli.js'
import { QWEN3_30B_A3B } from '../helpers/declared-models.js'
import { repositoryRoot } from '../helpers/paths.js'
import { checkNetwork } from './checks/network.js'
import { checkPolicy } from './checks/policy.js'
import { checkReferences } from './checks/references.js'
import { checkSchema } from './checks/schema.js'
import { checkSettings } from './checks/settings.js'
import { parseManifests, titleOf, type Manifest } from './manifests.js'
import { findRenderer, render } from './render.js'
import { makeSecrets } from './secrets.js'

interface PlanJson {
  readonly expertWorkers: number
  readonly attentionWorkers: number
  readonly replicas: number
  readonly kvTokens: number
  readonly tpotMs: { readonly wanted: number; readonly expected: number }
  readonly arithmetic: readonly { readonly name: string; readonly arithmetic: string }[]
  readonly files: readonly string[]
  readonly pods: readonly { readonly role: string; readonly device: string }[]
}

describe('banyan deploy plan', () => {
  const folder = mkdtempSync(join(tmpdir(), 'banyan-plan-'))
  const demo = join(repositoryRoot, 'models', 'demo')
  const large = join(folder, 'Qwen3-30B-A3B')
  const out = (name: string): string => join(folder, 'overlays', name)

  const plans: Readonly<Record<string, readonly string[]>> = {
    demo: [demo, '--nodes', '3', '--node-cpus', '4', '--node-memory', '16Gi', '--streams', '16'],
    'demo-on-one': [demo, '--nodes', '1', '--node-cpus', '4', '--streams', '4'],
    large: [large, '--nodes', '8', '--weights', 'int4', '--streams', '16', '--context', '2048'],
    'large-packed': [large, '--nodes', '4', '--context', '1024', '--image', 'r.example:5000/banyan:1.2'],
    'large-fetched': [
      `${large}/config.json`,
      '--nodes',
      '8',
      '--weights',
      'int4',
      '--model-uri',
      'https://m.example/q/',
    ],
    'large-on-both': [
      ...[large, '--device', 'webgpu', '--streams', '8', '--context', '2048'],
      ...['--nodes', '2:name=gpu,cpus=8,gpus=1,gpu-memory=24Gi', '--nodes', '8:name=cpu,cpus=32,memory=128Gi'],
    ],
    'large-cuda': [
      large,
      '--nodes',
      '2:label=example.com/kind=gpu,gpus=4,gpu-memory=80Gi',
      '--device',
      'cuda',
      '--streams',
      '4',
    ],
  }
  const outcomes = new Map<string, Outcome>()
  const planned = (name: string): Outcome => outcomes.get(name) ?? assert.fail(name)

  before(async function () {
    this.timeout(60_000)
    mkdirSync(large)
    writeFileSync(join(large, 'config.json'), JSON.stringify(QWEN3_30B_A3B))
    writeFileSync(join(large, 'SHA256SUMS'), `${'ab'.repeat(32)}  config.json\n`)
    const runs = Object.entries(plans).map(async ([name, words]) => {
      outcomes.set(name, await runCli(['deploy', 'plan', ...words, '--out', out(name), '--json']))
    })
    await Promise.all(runs)
  })
  after(() => rmSync(folder, { recursive: true }))

  const secrets = makeSecrets()
  for (const name of Object.keys(plans)) {
    describe(name, () => {
      let objects: readonly Manifest[] = []

      it('is one JSON value with its arithmetic, and the files that it names', () => {
        const { code, stdout, stderr } = planned(name)
        assert.equal(code, 0, stderr)
        const plan = JSON.parse(stdout) as PlanJson
        assert.ok(plan.tpotMs.expected <= plan.tpotMs.wanted)
        assert.ok(plan.arithmetic.length > 20)
        assert.deepEqual(filesIn(out(name)), [...plan.files].sort())
        const page = readFileSync(join(out(name), 'PLAN.md'), 'utf8')
        for (const { name: figure } of plan.arithmetic) assert.ok(page.includes(`| ${figure} |`), figure)
      })

      it('renders, and the renderer has nothing to say', function () {
        const renderer = findRenderer()
        if (renderer === undefined) {
          console.log('      skipped: no kustomize and no kubectl on the PATH')
          this.skip()
        }
        const { yaml, stderr } = render(out(name), renderer)
        assert.equal(stderr, '')
        objects = parseManifests(yaml)
      })

      it('passes the checks of the kept overlays', async function () {
        if (objects.length === 0) this.skip()
        assert.deepEqual(
          [
            ...(await checkSchema(objects)),
            ...checkReferences([...objects, ...secrets]),
            ...checkSettings(objects),
            ...checkNetwork(objects),
            ...checkPolicy(objects, { isForTrial: false }),
          ],
          [],
        )
      })

      it('says in its objects what the plan says', function () {
        if (objects.length === 0) this.skip()
        const plan = JSON.parse(planned(name).stdout) as PlanJson
        const settings = find(objects, /^ConfigMap banyan-settings/)
        assert.equal(at(settings, 'data.BANYAN_EXPERTS'), String(plan.expertWorkers))
        assert.equal(at(settings, 'data.BANYAN_KV_TOKENS'), String(plan.kvTokens))
        assert.equal(at(settings, 'data.BANYAN_REPLICAS'), String(plan.replicas))
        const scalers = ['expert-worker', 'attention'].map((role) => find(objects, `HorizontalPodAutoscaler ${role}`))
        assert.deepEqual(
          scalers.map((scaler) => at(scaler, 'spec.minReplicas')),
          [plan.expertWorkers, plan.attentionWorkers],
        )
      })
    })
  }

  it('has the model fetched from where it was told, with the hashes that lay beside its configuration', function () {
    const renderer = findRenderer() ?? this.skip()
    const source = find(parseManifests(render(out('large-fetched'), renderer).yaml), /^ConfigMap model-source/)
    assert.equal(at(source, 'data.url'), 'https://m.example/q/')
    assert.equal(at(source, 'data', 'SHA256SUMS'), `${'ab'.repeat(32)}  config.json\n`)
  })

  it('keeps roles in their pools and gives each its device', function () {
    const renderer = findRenderer() ?? this.skip()
    const rendered = parseManifests(render(out('large-on-both'), renderer).yaml)
    const pod = 'spec.template.spec'
    const { pods } = JSON.parse(planned('large-on-both').stdout) as PlanJson
    const devices = new Set<unknown>()
    for (const role of ['attention', 'expert-worker']) {
      const device = pods.find((each) => each.role === role)?.device
      const set = find(rendered, `StatefulSet ${role}`)
      assert.deepEqual(at(set, `${pod}.nodeSelector`), { 'banyan.dev/pool': device === 'webgpu' ? 'gpu' : 'cpu' })
      const limits = at(set, `${pod}.containers.0.resources.limits`, 'nvidia.com/gpu')
      assert.equal(limits, device === 'webgpu' ? '1' : undefined)
      devices.add(device)
    }
    assert.ok(devices.has('webgpu'))
    const cuda = parseManifests(render(out('large-cuda'), renderer).yaml)
    assert.deepEqual(at(find(cuda, 'StatefulSet attention'), `${pod}.nodeSelector`), { 'example.com/kind': 'gpu' })
    assert.equal(at(find(cuda, 'StatefulSet attention'), `${pod}.containers.0.image`), 'banyan:0.1.0-cuda')
  })

  describe('the folder that it writes', () => {
    const words = (name: string, ...more: readonly string[]): readonly string[] => [
      ...['deploy', 'plan', demo, '--nodes', '3', '--streams', '1', '--out', out(name)],
      ...more,
    ]

    it('may be an earlier plan, of which nothing stays', async () => {
      assert.ok(readdirSync(out('demo-on-one')).includes('cluster.conf'))
      const outcome = await runCli(words('demo-on-one'))
      assert.equal(outcome.code, 0, outcome.stderr)
      assert.match(outcome.stdout, /^time per token +[\d.]+ ms += 4 layers ×/m)
      assert.ok(!readdirSync(out('demo-on-one')).includes('cluster.conf'))
    })

    it('is left alone where somebody else wrote it, or into it, but for --force', async () => {
      mkdirSync(out('foreign'), { recursive: true })
      writeFileSync(join(out('foreign'), 'kustomization.yaml'), 'theirs')
      writeFileSync(join(out('demo'), 'own-patch.yaml'), 'ours')
      for (const name of ['foreign', 'demo']) {
        const refused = await runCli(words(name))
        assert.equal(refused.code, 1)
        assert.match(refused.stderr, /^banyan: already_exists: --out .*found (kustomization|own-patch)\.yaml; --force/)
      }
      assert.equal(readFileSync(join(out('foreign'), 'kustomization.yaml'), 'utf8'), 'theirs')
      assert.equal((await runCli(words('demo', '--force'))).code, 0)
      assert.equal(readFileSync(join(out('demo'), 'own-patch.yaml'), 'utf8'), 'ours')
    })

    it('may be reached through a link', async function () {
      const renderer = findRenderer() ?? this.skip()
      mkdirSync(join(folder, 'deep', 'er'), { recursive: true })
      symlinkSync(join(folder, 'deep', 'er'), join(folder, 'link'))
      assert.equal((await runCli([...words('x').slice(0, -1), join(folder, 'link', 'plan')])).code, 0)
      assert.equal(render(join(folder, 'link', 'plan'), renderer).stderr, '')
    })
  })
})

const filesIn = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => statSync(join(folder, name)).isFile())
    .sort()

function find(objects: readonly Manifest[], title: string | RegExp): Manifest {
  const found = objects.find((object) =>
    typeof title === 'string' ? titleOf(object) === title : title.test(titleOf(object)),
  )
  return found ?? assert.fail(`want ${String(title)} among ${objects.map(titleOf).join(', ')}`)
}

/** A field by its path; a last name may have dots. */
function at(object: Manifest, path: string, last?: string): unknown {
  let value: unknown = object
  for (const step of [...path.split('.'), ...(last === undefined ? [] : [last])])
    value = typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>)[step] : undefined // an object
  return value
}
