// The plan as an overlay of kustomize over the manifests of deploy/k8s/base: file name → text.
//
// Invariants
//   OV1  Pure, and stable: the same plan gives the same bytes.
//   OV2  Only what the plan decides stands here; the rest is the base's.

import { stringify } from 'yaml'
import { rebalances } from './candidate.js'
import { natsPatch, scalerPatch, storageQuantity, workloadPatch, type Yaml } from './patches.js'
import type { Plan } from './plan.js'
import { rolePods, type RolePods } from './role-pods.js'

export interface OverlayOptions {
  readonly base: string // from the overlay's folder
  readonly components: string
  readonly image?: ImageName | undefined
  readonly model: ModelSource
}

/** In the image; in the volume of component `model-pvc`, as `current`; or fetched by component `model-fetch`. */
export type ModelSource =
  | { readonly kind: 'image' }
  | { readonly kind: 'volume' }
  | { readonly kind: 'url'; readonly url: string; readonly sums: string }

export interface ImageName {
  readonly name: string
  readonly tag?: string | undefined
  readonly digest?: string | undefined
}

/** What the files of a plan are called; a folder with others was not written by one. */
export const KUSTOMIZATION = 'kustomization.yaml'
export const PLAN_PAGE = 'PLAN.md'
export const PLAN_MARK = 'Written by `banyan deploy plan`'
const SETTINGS_FILE = 'settings.env'
const ONE_SERVER_CONFIG = 'cluster.conf'
const SUMS_FILE = 'SHA256SUMS'
export const PLAN_FILES: readonly string[] = [
  ...[KUSTOMIZATION, PLAN_PAGE, SETTINGS_FILE, ONE_SERVER_CONFIG, SUMS_FILE],
  ...['router', 'attention', 'expert-worker', 'drafter', 'nats', 'scaling'].map((name) => `${name}.yaml`),
]

export function overlayFiles(plan: Plan, options: OverlayOptions): ReadonlyMap<string, string> {
  const roles = rolePods(plan)
  const documents: readonly (readonly [string, readonly Yaml[]])[] = [
    ...roles.map((role): [string, Yaml[]] => [`${role.role}.yaml`, [workloadPatch(role, plan)]]),
    ['nats.yaml', [natsPatch(plan)]],
    ['scaling.yaml', roles.map(scalerPatch)],
  ]
  return new Map([
    [KUSTOMIZATION, yamlFile([kustomization(plan, roles, options)])],
    [SETTINGS_FILE, settings(plan)],
    ...(plan.services.nats === 1 ? [[ONE_SERVER_CONFIG, '# One server: nothing to find.\n'] as const] : []),
    ...(options.model.kind === 'url' ? [[SUMS_FILE, options.model.sums] as const] : []),
    ...documents.map(([name, items]) => [name, yamlFile(items)] as const),
  ])
}

const HEAD = `# ${PLAN_MARK}: what made each number is in ${PLAN_PAGE}.\n`
const yamlFile = (documents: readonly Yaml[]): string =>
  HEAD + documents.map((document) => stringify(document, { lineWidth: 0 })).join('---\n')

function kustomization(plan: Plan, roles: readonly RolePods[], options: OverlayOptions): Yaml {
  const { base, components, image, model } = options
  const isOneServer = plan.services.nats === 1
  const { perNode, cacheBytes } = roles.find(({ role }) => role === 'expert-worker') ?? { perNode: 1, cacheBytes: 0 }
  return {
    apiVersion: 'kustomize.config.k8s.io/v1beta1',
    kind: 'Kustomization',
    namespace: 'banyan',
    resources: [base],
    components: [...MODEL_COMPONENT[model.kind], 'hpa'].map((name) => `${components}/${name}`),
    ...(isOneServer ? { replicas: [{ name: 'nats', count: 1 }] } : {}),
    configMapGenerator: [
      { name: 'banyan-settings', behavior: 'merge', envs: [SETTINGS_FILE] },
      ...(isOneServer ? [{ name: 'nats-config', behavior: 'merge', files: [ONE_SERVER_CONFIG] }] : []),
      ...(model.kind === 'url' ? [modelSource(model.url)] : []),
    ],
    ...(image === undefined ? {} : { images: [imageChange(image)] }),
    patches: [
      ...roles.map(({ role }) => ({ path: `${role}.yaml` })),
      { path: 'nats.yaml' },
      { path: 'scaling.yaml' },
      {
        target: { kind: 'StatefulSet', name: 'expert-worker' },
        patch: stringify([
          ...(perNode > 1 ? [{ op: 'remove', path: '/spec/template/spec/affinity/podAntiAffinity' }] : []),
          {
            op: 'replace',
            path: '/spec/volumeClaimTemplates/0/spec/resources/requests/storage',
            value: storageQuantity(cacheBytes),
          },
        ]),
      },
    ],
  }
}

const MODEL_COMPONENT: Readonly<Record<ModelSource['kind'], readonly string[]>> = {
  image: [],
  volume: ['model-pvc'],
  url: ['model-fetch'],
}

const modelSource = (url: string): Yaml => ({
  name: 'model-source',
  literals: [`url=${url}`],
  files: [SUMS_FILE],
  options: { labels: { 'app.kubernetes.io/name': 'banyan', 'app.kubernetes.io/part-of': 'banyan' } },
})

const imageChange = ({ name, tag, digest }: ImageName): Yaml => ({
  name: 'banyan',
  newName: name,
  ...(digest === undefined ? { newTag: tag } : { digest }),
})

function settings(plan: Plan): string {
  const { layout, request, services, replicas } = plan
  const values: readonly (readonly [string, string | number])[] = [
    ['BANYAN_WEIGHTS', request.weights],
    ['BANYAN_ATTENTION', layout.attention.workers],
    ['BANYAN_EXPERTS', layout.experts.workers],
    ['BANYAN_REPLICAS', replicas],
    ['BANYAN_KV_TOKENS', plan.kvTokens],
    ...(request.kvFormat === 'f32' ? [] : [['BANYAN_KV_FORMAT', request.kvFormat] as const]),
    ['BANYAN_MAX_RUNNING', plan.streamsPerWorker],
    ['BANYAN_MICRO_BATCHES', plan.microBatches],
    ['BANYAN_REBALANCE', rebalances(plan.shardsPerWorker, plan.spareShards, plan.model.load.numShards) ? 'on' : 'off'],
    ...(services.nats === 1
      ? ([
          ['NATS_URL', 'tls://nats-0.nats-headless:4222'],
          ['BANYAN_JOURNAL_REPLICAS', 1],
        ] as const)
      : []),
  ]
  return HEAD + values.map(([name, value]) => `${name}=${value}\n`).join('')
}
