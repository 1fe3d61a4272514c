// Whether an object is one of Kubernetes: its fields' types and what must be there by the published schemas, and no field
// beyond these.

import * as client from '@kubernetes/client-node'
import type { Model } from '@kubernetes-models/base'
import { titleOf, type Manifest } from '../manifests.js'

type Plain = Readonly<Record<string, unknown>>

const SIBLINGS: Readonly<Record<string, string>> = {
  'keda.sh': '@kubernetes-models/keda',
  'gateway.networking.k8s.io': '@kubernetes-models/gateway-api',
  'monitoring.coreos.com': '@kubernetes-models/prometheus-operator',
}
// cert-manager's schemas are in no package at hand; its objects are looked at by their references alone.
const WITHOUT_SCHEMA: ReadonlySet<string> = new Set(['cert-manager.io'])

/** Kinds that the package knows by an older version alone, from which they came without a change of form. */
const CAME_FROM: Readonly<Record<string, string>> = {
  'gateway.networking.k8s.io/v1 GRPCRoute': 'gateway.networking.k8s.io/v1alpha2',
}

const groupOf = ({ apiVersion }: Manifest): string => apiVersion.split('/').at(-2) ?? ''
const isCustom = (object: Manifest): boolean => groupOf(object) in SIBLINGS

/** Everything that is wrong with the form of these objects. */
export async function checkSchema(objects: readonly Manifest[]): Promise<string[]> {
  const found = await Promise.all(objects.filter((object) => !WITHOUT_SCHEMA.has(groupOf(object))).map(checkObject))
  return found.flat()
}

async function checkObject(given: Manifest): Promise<string[]> {
  const title = titleOf(given)
  const object = { ...given, apiVersion: CAME_FROM[`${given.apiVersion} ${given.kind}`] ?? given.apiVersion }
  const Kind = await modelOf(object)
  if (Kind === undefined) return [`${title}: no such kind in ${object.apiVersion}`]
  const reads = watchReads(object)
  const model = Object.assign(new Kind(), reads.watched)
  try {
    model.validate()
  } catch (error) {
    return [`${title}: ${String(error)}`]
  }
  if (!isCustom(object) && types[typeOf(object)] === undefined)
    return [`${title}: no such kind in ${object.apiVersion} any more`]
  const unknown = isCustom(object) ? reads.unread() : unknownFields(object, typeOf(object))
  return unknown.map((path) => `${title}: no such field ${path}`)
}

type Constructor = new (data?: object) => Model<object>

async function modelOf(object: Manifest): Promise<Constructor | undefined> {
  const { apiVersion, kind } = object
  const module = `${SIBLINGS[groupOf(object)] ?? 'kubernetes-models'}/${apiVersion}`
  try {
    const kinds = (await import(module)) as Readonly<Record<string, Constructor | undefined>> // classes by kind
    return kinds[kind]
  } catch {
    return undefined // no such group or version
  }
}

// --- Kubernetes' own kinds: the client's generated tables say which fields a type has.

interface Attribute {
  readonly baseName: string
  readonly type: string
}

interface ClientType {
  readonly getAttributeTypeMap?: () => readonly Attribute[]
}

const types = client as unknown as Readonly<Record<string, ClientType | undefined>> // classes by name, and more

/** 'apps/v1', 'Deployment' → 'V1Deployment'. */
const typeOf = ({ apiVersion, kind }: Manifest): string => {
  const version = apiVersion.split('/').at(-1) ?? ''
  return `${version.charAt(0).toUpperCase()}${version.slice(1)}${kind}`
}

function unknownFields(value: unknown, type: string, path = ''): string[] {
  const item = /^Array<(.+)>$/.exec(type)?.[1]
  if (item !== undefined && Array.isArray(value))
    return value.flatMap((one, i) => unknownFields(one, item, `${path}[${i}]`))
  const entry = /^\{ \[key: string\]: (.+); \}$/.exec(type)?.[1]
  if (typeof value !== 'object' || value === null) return []
  if (entry !== undefined)
    return Object.entries(value).flatMap(([name, one]) => unknownFields(one, entry, `${path}.${name}`))
  const attributes = types[type]?.getAttributeTypeMap?.()
  if (attributes === undefined) return type === 'any' || type === 'Date' ? [] : [`${path} (of an unknown type ${type})`]
  return Object.entries(value).flatMap(([name, one]) => {
    const attribute = attributes.find(({ baseName }) => baseName === name)
    return attribute === undefined ? [`${path}.${name}`] : unknownFields(one, attribute.type, `${path}.${name}`)
  })
}

// --- Kinds of others: their validators read every field that they know, by its name.

function watchReads(object: object) {
  const known = new Set<string>()
  const open = new Set<string>() // of maps, whose keys are anything
  const watch = (value: unknown, path: string): unknown => {
    if (Array.isArray(value)) return value.map((one, i) => watch(one, `${path}[${i}]`))
    if (typeof value !== 'object' || value === null) return value
    const fields = Object.fromEntries(Object.entries(value).map(([name, one]) => [name, watch(one, `${path}.${name}`)]))
    return new Proxy(fields, {
      get: (target, name) => {
        known.add(`${path}.${String(name)}`)
        return target[String(name)]
      },
      ownKeys: (target) => {
        open.add(path)
        return Object.keys(target)
      },
    })
  }
  const unread = (value: unknown, path: string): string[] => {
    if (Array.isArray(value)) return value.flatMap((one, i) => unread(one, `${path}[${i}]`))
    if (typeof value !== 'object' || value === null) return []
    return Object.entries(value).flatMap(([name, one]) => {
      const here = `${path}.${name}`
      return path === '' || open.has(path) || known.has(here) ? unread(one, here) : [here]
    })
  }
  const entries = Object.entries(object).map(([name, value]): [string, unknown] => [name, watch(value, `.${name}`)])
  return { watched: Object.fromEntries(entries) as Plain, unread: (): string[] => unread(object, '') }
}
