// `banyan deploy plan MODEL --nodes …`: how to spread a model over nodes, as figures and as an overlay for kustomize.

import { existsSync, readFileSync, realpathSync } from 'node:fs'
import { basename, dirname, join, relative, resolve } from 'node:path'
import { overlayFiles, PLAN_PAGE, type ModelSource } from '../../lib/deploy/overlay.js'
import { POOL_LABEL } from '../../lib/deploy/patches.js'
import { makePlan, type Plan } from '../../lib/deploy/plan.js'
import { ClusterError } from '../../lib/errors.js'
import type { Flags } from '../cluster-flags.js'
import { parseSums } from '../fetch/sums.js'
import { demoModelPath, packageRoot } from '../../lib/package-files.js'
import { usageError } from '../report-error.js'
import { notify, print, printJson } from '../terminal.js'
import { describePlan, planJson, planPage } from './describe-plan.js'
import { parseImage, planRequest, slugOf } from './plan-request.js'
import { writeOverlay } from './write-overlay.js'

export async function deployPlan(model: string, flags: Flags): Promise<number> {
  const request = await planRequest(model, flags)
  const image = typeof flags.image === 'string' ? parseImage(flags.image) : undefined
  const source = modelSource(model, flags)
  const base = baseOf(flags)
  const plan = makePlan(request)
  const folder = resolve(
    typeof flags.out === 'string' ? flags.out : join(base, '..', 'overlays', `plan-${slugOf(request.model)}`),
  )
  const files = overlayFiles(plan, {
    base: pathFrom(folder, base),
    components: pathFrom(folder, join(base, '..', 'components')),
    image,
    model: source,
  })
  const page = planPage(plan, commandLine(model, flags))
  writeOverlay(folder, new Map([...files, [PLAN_PAGE, page]]), { isForced: flags.force === true })
  if (flags.json === true) printJson({ ...planJson(plan), out: folder, files: [...files.keys(), PLAN_PAGE] })
  else print(describePlan(plan))
  for (const note of notesOf(plan, source, folder)) notify(note)
  return 0
}

/** The bundled model is in the image; another one comes from a URL, or lies in the volume. */
function modelSource(model: string, { modelUri, modelSums }: Flags): ModelSource {
  if (typeof modelUri === 'string') return { kind: 'url', url: urlOf(modelUri), sums: readSums(model, modelSums) }
  if (modelSums !== undefined) throw usageError('--model-sums: want --model-uri too, found none')
  return isBundled(model) ? { kind: 'image' } : { kind: 'volume' }
}

function urlOf(text: string): string {
  if (/^https?:\/\/[^\s@]+$/.test(text) && URL.canParse(text)) return text
  throw usageError(`--model-uri: want an http or https URL without a login, found ${JSON.stringify(text)}`)
}

function readSums(model: string, given: unknown): string {
  const folder = basename(model) === 'config.json' ? dirname(model) : model
  const file = typeof given === 'string' ? given : join(folder, 'SHA256SUMS')
  if (!existsSync(file))
    throw usageError(
      `--model-uri: want the hashes of its files, in MODEL/SHA256SUMS or --model-sums FILE (\`sha256sum *\` makes them), found no ${file}`,
    )
  const text = readFileSync(file, 'utf8')
  parseSums(text, file)
  return text
}

function baseOf(flags: Flags): string {
  const base = resolve(typeof flags.base === 'string' ? flags.base : join(packageRoot(), 'deploy', 'k8s', 'base'))
  if (!existsSync(join(base, 'kustomization.yaml')))
    throw new ClusterError('not_found', `--base ${base}: want a folder with kustomization.yaml, as deploy/k8s/base is`)
  return realpathSync(base)
}

/** From where the overlay will really lie: links on the way there would lead a relative path astray. */
function pathFrom(folder: string, target: string): string {
  let there = folder
  while (!existsSync(there)) there = dirname(there)
  return relative(join(realpathSync(there), relative(there, folder)), target).replaceAll('\\', '/')
}

const isBundled = (model: string): boolean => existsSync(model) && realpathSync(model) === realpathSync(demoModelPath())

/** The flags as they were given, for PLAN.md. */
function commandLine(model: string, flags: Flags): string {
  const words = Object.entries(flags).flatMap(([name, value]) => {
    const flag = `--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)}`
    if (name === 'json' || name === 'force' || value === undefined) return []
    return (Array.isArray(value) ? (value as readonly unknown[]) : [value]).map(
      (one) => `${flag} ${shellWord(String(one))}`,
    )
  })
  return ['banyan deploy plan', shellWord(model), ...words].join(' ')
}

const shellWord = (word: string): string =>
  /^[\w./:=,@%+-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`

function notesOf(
  { request, layout, replicas, spareShards, ...plan }: Plan,
  source: ModelSource,
  folder: string,
): readonly string[] {
  const where = relative(process.cwd(), folder) || '.'
  const unlabelled = request.pools.filter(({ label }) => label === undefined && request.pools.length > 1)
  return [
    `written to ${where}: kubectl apply -k ${where} (the Secrets that it wants: deploy/k8s/make-secrets.sh)`,
    ...(source.kind === 'volume'
      ? [`put the model into the volume \`models\`, with a link \`current\` to its folder`]
      : []),
    ...unlabelled.map(({ name }) => `label the nodes of pool ${name}: kubectl label node NODE ${POOL_LABEL}=${name}`),
    ...(request.device === 'cpu' && request.pools.some(({ gpus }) => gpus > 0)
      ? ['the GPUs are not used: --device webgpu or cuda does']
      : []),
    ...(spareShards === 0 && plan.shardsPerWorker < plan.model.load.numShards
      ? ['no expert worker has room for a further shard: those of a lost worker have a replica less until it is back']
      : []),
    ...(replicas === 1 ? ['one replica of every shard: while a lost worker is replaced, requests wait'] : []),
    ...(layout.attention.workers === 1 ? ['one attention worker: while it is replaced, requests wait'] : []),
  ]
}
