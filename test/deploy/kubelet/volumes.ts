// A pod's volumes as folders, with the files that ConfigMaps and Secrets put there.

import type { V1ConfigMap, V1KeyToPath, V1Secret, V1Volume } from '@kubernetes/client-node'
import { mkdirSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { ofKind, type Manifest, type Typed, type Workload } from '../manifests.js'

export interface VolumeOptions {
  readonly objects: readonly Manifest[]
  readonly podFolder: string
  readonly claimFolder: (claim: string) => string // lasts longer than the pod
  readonly translate: (text: string) => string // names to addresses, in ConfigMaps
}

/** Folders by volume. Throws where something is not there. */
export function makeVolumes(
  { pod, claims }: Workload,
  podName: string,
  options: VolumeOptions,
): ReadonlyMap<string, string> {
  const own = (pod.volumes ?? []).map((volume): [string, string] => [volume.name, makeVolume(volume, options)])
  const templated = claims.map(({ metadata }): [string, string] => {
    const name = metadata?.name ?? ''
    return [name, options.claimFolder(`${name}-${podName}`)]
  })
  return new Map([...own, ...templated])
}

function makeVolume(volume: V1Volume, options: VolumeOptions): string {
  if (volume.persistentVolumeClaim !== undefined) return options.claimFolder(volume.persistentVolumeClaim.claimName)
  const folder = join(options.podFolder, 'volumes', volume.name)
  mkdirSync(folder, { recursive: true })
  const { secret, configMap, projected, emptyDir } = volume
  if (secret !== undefined) write(folder, secretData(secret.secretName, options), secret.items)
  if (configMap !== undefined) write(folder, mapData(configMap.name, options), configMap.items)
  for (const source of projected?.sources ?? []) {
    if (source.secret !== undefined) write(folder, secretData(source.secret.name, options), source.secret.items)
    if (source.configMap !== undefined) write(folder, mapData(source.configMap.name, options), source.configMap.items)
  }
  if ([secret, configMap, projected, emptyDir].every((kind) => kind === undefined))
    throw new Error(`volume ${volume.name}: want one of a kind that is known here`)
  return folder
}

type Data = ReadonlyMap<string, Buffer>

export function secretData(name: string | undefined, { objects }: Pick<VolumeOptions, 'objects'>): Data {
  const secret = ofKind<Typed<V1Secret>>(objects, 'Secret').find(({ metadata }) => metadata.name === name)
  if (secret === undefined) throw new Error(`want Secret ${name ?? ''}`)
  return new Map(Object.entries(secret.data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64')]))
}

export function mapData(
  name: string | undefined,
  { objects, translate }: Pick<VolumeOptions, 'objects' | 'translate'>,
): Data {
  const map = ofKind<Typed<V1ConfigMap>>(objects, 'ConfigMap').find(({ metadata }) => metadata.name === name)
  if (map === undefined) throw new Error(`want ConfigMap ${name ?? ''}`)
  return new Map(Object.entries(map.data ?? {}).map(([key, value]) => [key, Buffer.from(translate(value))]))
}

function write(folder: string, data: Data, items: readonly V1KeyToPath[] | undefined): void {
  for (const { key, path } of items ?? [...data.keys()].map((name) => ({ key: name, path: name }))) {
    const content = data.get(key)
    if (content === undefined) throw new Error(`want key ${key}`)
    mkdirSync(dirname(join(folder, path)), { recursive: true })
    writeFileSync(join(folder, path), content, { mode: 0o600 })
  }
}
