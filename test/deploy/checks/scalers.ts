// Whether autoscalers name what is there: workloads with that many pods, and series that somebody exports.

import type { V1Service, V2HorizontalPodAutoscaler } from '@kubernetes/client-node'
import { parse } from 'yaml'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { repositoryRoot } from '../../helpers/paths.js'
import { ofKind, titleOf, workloads, type Manifest, type Typed, type Workload } from '../manifests.js'
import { queryProblems } from './series.js'

const ADAPTER = join(repositoryRoot, 'deploy', 'k8s', 'components', 'hpa', 'prometheus-adapter.yaml')

interface Scaler {
  readonly manifest: Manifest
  readonly kind: string | undefined
  readonly name: string | undefined
  readonly min: number
  readonly max: number | undefined
}

/** KEDA's, as far as it is read here; its schema is looked at elsewhere. */
interface ScaledObject extends Manifest {
  readonly spec: {
    readonly scaleTargetRef: { readonly kind?: string; readonly name: string }
    readonly minReplicaCount?: number
    readonly maxReplicaCount?: number
    readonly triggers: readonly { readonly type: string; readonly metadata: Readonly<Record<string, string>> }[]
  }
}

export function scalers(objects: readonly Manifest[]): Scaler[] {
  const own = ofKind<Typed<V2HorizontalPodAutoscaler>>(objects, 'HorizontalPodAutoscaler')
  return [
    ...own.map((manifest) => ({
      manifest,
      kind: manifest.spec?.scaleTargetRef.kind,
      name: manifest.spec?.scaleTargetRef.name,
      min: manifest.spec?.minReplicas ?? 1,
      max: manifest.spec?.maxReplicas,
    })),
    ...ofKind<ScaledObject>(objects, 'ScaledObject').map((manifest) => ({
      manifest,
      kind: manifest.spec.scaleTargetRef.kind ?? 'Deployment',
      name: manifest.spec.scaleTargetRef.name,
      min: manifest.spec.minReplicaCount ?? 0,
      max: manifest.spec.maxReplicaCount ?? 100,
    })),
  ]
}

const targetOf = ({ kind, name }: Scaler, objects: readonly Manifest[]): Workload | undefined =>
  workloads(objects).find((workload) => workload.manifest.kind === kind && workload.name === name)

export function referencesOfScalers(objects: readonly Manifest[]): string[] {
  const all = scalers(objects)
  const found = all.flatMap((scaler) => {
    const title = titleOf(scaler.manifest)
    const target = targetOf(scaler, objects)
    if (target === undefined) return [`${title}: want ${scaler.kind ?? ''} ${scaler.name ?? ''}, found none`]
    const isAlone = all.filter((other) => other.kind === scaler.kind && other.name === scaler.name).length === 1
    return [
      ...(isAlone ? [] : [`${title}: ${target.title} has another autoscaler`]),
      ...(target.replicas === undefined ? [] : [`${title}: ${target.title} says its own number of pods as well`]),
      ...(scaler.max !== undefined && scaler.min <= scaler.max
        ? []
        : [`${title}: want at least as many as ${scaler.min} at most`]),
    ]
  })
  return [...found, ...metricsOfOwn(objects), ...metricsOfKeda(objects)]
}

interface AdapterRule {
  readonly seriesQuery: string
  readonly name: { readonly as: string }
  readonly metricsQuery: string
}

/** Series that prometheus-adapter gives to autoscalers, by the values beside the component. */
const adapterRules = (): readonly AdapterRule[] =>
  (parse(readFileSync(ADAPTER, 'utf8')) as { readonly rules: { readonly custom: readonly AdapterRule[] } }).rules.custom // its chart's form

export function adapterProblems(rules: readonly AdapterRule[] = adapterRules()): string[] {
  return rules.flatMap(({ name, seriesQuery, metricsQuery }) => [
    ...queryProblems(seriesQuery).map((problem) => `prometheus-adapter ${name.as}: ${problem}`),
    ...(metricsQuery.includes('<<.Series>>')
      ? []
      : [`prometheus-adapter ${name.as}: want <<.Series>> in metricsQuery`]),
  ])
}

function metricsOfOwn(objects: readonly Manifest[]): string[] {
  const given = new Set(adapterRules().map(({ name }) => name.as))
  return ofKind<Typed<V2HorizontalPodAutoscaler>>(objects, 'HorizontalPodAutoscaler').flatMap((manifest) => {
    const title = titleOf(manifest)
    return (manifest.spec?.metrics ?? []).flatMap(({ object, pods, external, resource }) => {
      const name = (object ?? pods ?? external)?.metric.name
      if (name === undefined) return resource === undefined ? [`${title}: want a metric`] : []
      const described = object?.describedObject
      const services = ofKind<Typed<V1Service>>(objects, 'Service')
      const isThere = described === undefined || services.some(({ metadata }) => metadata.name === described.name)
      return [
        ...(given.has(name) ? [] : [`${title}: nobody gives it the metric ${name}`]),
        ...(isThere ? [] : [`${title}: want ${described.kind} ${described.name}, found none`]),
      ]
    })
  })
}

const metricsOfKeda = (objects: readonly Manifest[]): string[] =>
  ofKind<ScaledObject>(objects, 'ScaledObject').flatMap((manifest) =>
    manifest.spec.triggers
      .filter(({ type }) => type === 'prometheus')
      .flatMap(({ metadata }) =>
        queryProblems(metadata.query ?? '').map((problem) => `${titleOf(manifest)}: ${problem}`),
      ),
  )
