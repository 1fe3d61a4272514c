// What a pod's container is on this machine: the words of its command, its variables, where it runs.

import type { V1Container, V1EnvVar } from '@kubernetes/client-node'
import { CLI_MAIN } from '../../helpers/cli.js'
import type { Manifest, Workload } from '../manifests.js'
import type { PodIdentity } from './identity.js'
import { makeVolumes, mapData, secretData } from './volumes.js'

export interface ProcessSpec {
  readonly words: readonly string[]
  readonly env: Readonly<Record<string, string>>
  readonly folder: string | undefined
  /** Of a hook: as the container's own words, with its paths. */
  readonly translate: (word: string) => string
}

export interface SpecOptions {
  readonly objects: readonly Manifest[]
  readonly identity: PodIdentity
  readonly podFolder: string
  readonly claimFolder: (claim: string) => string
  readonly names: ReadonlyMap<string, string> // of pods in the network → addresses
  readonly natsServer: string // the binary
  readonly timeFactor: number
}

const SERVER = 'nats-server'

export function processSpec(workload: Workload, container: V1Container, options: SpecOptions): ProcessSpec {
  const { identity, names } = options
  const toAddresses = (text: string): string =>
    [...names].reduce((done, [name, address]) => done.replaceAll(name, address), text)
  const volumes = makeVolumes(workload, identity.name, { ...options, translate: toAddresses })
  const folders = new Map((container.volumeMounts ?? []).map(({ name, mountPath }) => [mountPath, volumes.get(name)]))
  const mounted = new RegExp(`(^|=)(${[...folders.keys()].join('|')})(?=/|$)`) // none lies in another
  const toFolders = (text: string): string =>
    text.replace(mounted, (_, before: string, path: string) => before + (folders.get(path) ?? path))
  const translate = (text: string): string => toFolders(toAddresses(text).replaceAll('0.0.0.0', identity.ip))

  const env = variablesOf(container, options)
  const values = Object.fromEntries(Object.entries(env).map(([name, value]) => [name, translate(value)]))
  const tmp = translate('/tmp')
  return {
    words: commandOf(container, options, translate),
    env: { ...scaled(values, options), PATH: process.env.PATH ?? '', HOME: tmp, TMPDIR: tmp },
    folder: container.workingDir === undefined ? undefined : translate(container.workingDir),
    translate: (word) => (word === SERVER ? options.natsServer : translate(word)),
  }
}

/** The image's own command where the container has none. */
function commandOf(
  { command, args = [] }: V1Container,
  { identity, natsServer }: SpecOptions,
  translate: (word: string) => string,
): string[] {
  if (command === undefined) return [process.execPath, CLI_MAIN, ...args.map(translate)]
  const [name, ...words] = command
  if (name !== SERVER) throw new Error(`want ${SERVER} or the image's own command, found ${name ?? ''}`)
  // Its configuration opens its ports at every address of its pod.
  return [
    natsServer,
    ...[...words, ...args].map(translate),
    '--addr',
    identity.ip,
    '--cluster',
    `tls://${identity.ip}:6222`,
  ]
}

function variablesOf(container: V1Container, options: SpecOptions): Record<string, string> {
  const keep = { ...options, translate: (text: string) => text }
  const from = (container.envFrom ?? []).flatMap(({ configMapRef, secretRef, prefix = '' }) => {
    const data = secretRef === undefined ? mapData(configMapRef?.name, keep) : secretData(secretRef.name, options)
    return [...data].map(([name, value]): [string, string] => [prefix + name, value.toString()])
  })
  const own = (container.env ?? []).map((variable): [string, string] => [variable.name, valueOf(variable, options)])
  return Object.fromEntries([...from, ...own])
}

function valueOf({ name, value, valueFrom }: V1EnvVar, options: SpecOptions): string {
  const { identity } = options
  const fields: Readonly<Record<string, string>> = {
    'metadata.name': identity.name,
    'metadata.namespace': 'banyan',
    'status.podIP': identity.ip,
    'spec.nodeName': identity.node,
  }
  if (valueFrom === undefined) return value ?? ''
  const { fieldRef, secretKeyRef, configMapKeyRef, resourceFieldRef } = valueFrom
  const found =
    (fieldRef && fields[fieldRef.fieldPath]) ??
    (secretKeyRef && secretData(secretKeyRef.name, options).get(secretKeyRef.key)?.toString().trim()) ??
    (configMapKeyRef &&
      mapData(configMapKeyRef.name, { ...options, translate: (text) => text })
        .get(configMapKeyRef.key)
        ?.toString()) ??
    (resourceFieldRef && '1') // processors: this machine has few
  if (found === undefined) throw new Error(`variable ${name}: want a source that is known here`)
  return found
}

/** Time that processes keep themselves. */
const scaled = (env: Readonly<Record<string, string>>, { timeFactor }: SpecOptions): Record<string, string> =>
  env.BANYAN_DRAIN_SECONDS === undefined
    ? { ...env }
    : { ...env, BANYAN_DRAIN_SECONDS: String(Math.ceil(Number(env.BANYAN_DRAIN_SECONDS) * timeFactor)) }
