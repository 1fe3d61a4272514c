// The overlays as kustomize renders them, and what is kept of that: `rendered/<name>.yaml`, with a hash of all that they
// are rendered from, so that where there is no kustomize a stale one is noticed all the same.
// `npm run deploy:render` writes them.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { repositoryRoot } from '../helpers/paths.js'

const K8S = join(repositoryRoot, 'deploy', 'k8s')
const PROBE = join(repositoryRoot, 'test', 'deploy', 'every-component') // what no overlay uses is rendered too
const RENDERED = join(repositoryRoot, 'test', 'deploy', 'rendered')
const HASH_FILE = join(RENDERED, 'sources.sha256')

export interface Rendered {
  readonly yaml: string
  readonly stderr: string
}

const PLANNED = /^plan-/ // where `banyan deploy plan` writes: a user's own

/** What is rendered: every overlay, and every component at once. */
export const overlays = (): string[] =>
  readdirSync(join(K8S, 'overlays'))
    .filter((name) => !PLANNED.test(name))
    .sort()
export const targets = (): string[] => [...overlays(), ...(existsSync(PROBE) ? ['every-component'] : [])]

const folderOf = (name: string): string => (name === 'every-component' ? PROBE : join(K8S, 'overlays', name))
const goldenFile = (name: string): string => join(RENDERED, `${name}.yaml`)
export const golden = (name: string): string => readFileSync(goldenFile(name), 'utf8')

/** `kustomize build` or `kubectl kustomize`, whichever is there. */
export function findRenderer(): readonly [string, ...string[]] | undefined {
  if (spawnSync('kustomize', ['version']).status === 0) return ['kustomize', 'build']
  if (spawnSync('kubectl', ['version', '--client']).status === 0) return ['kubectl', 'kustomize']
  return undefined
}

/** Throws what the renderer says where it fails. */
export function render(folder: string, [command, ...words]: readonly [string, ...string[]]): Rendered {
  const { status, stdout, stderr } = spawnSync(command, [...words, folder], { encoding: 'utf8', timeout: 30_000 })
  if (status !== 0) throw new Error(`${command} ${words.join(' ')} ${relative(repositoryRoot, folder)}: ${stderr}`)
  return { yaml: stdout, stderr }
}

export const renderTarget = (name: string, renderer: readonly [string, ...string[]]): Rendered =>
  render(folderOf(name), renderer)

/** Of every file's name and content, in the order of names. */
export function sourcesHash(): string {
  const hash = createHash('sha256')
  for (const folder of [K8S, PROBE].filter((candidate) => existsSync(candidate))) {
    const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile())
    const paths = files
      .map((entry) => join(entry.parentPath, entry.name))
      .filter((path) => !PLANNED.test(relative(join(K8S, 'overlays'), path)))
      .sort()
    for (const path of paths) {
      const content = createHash('sha256').update(readFileSync(path)).digest('hex')
      hash.update(`${content}  ${relative(repositoryRoot, path).replaceAll('\\', '/')}\n`)
    }
  }
  return hash.digest('hex')
}

export const goldenHash = (): string => readFileSync(HASH_FILE, 'utf8').trim()

/** Writes what is kept; returns the names. Throws where there is no kustomize, or where it has something to say. */
export function writeGoldens(): string[] {
  const renderer = findRenderer()
  if (renderer === undefined) throw new Error('want kustomize, or kubectl with `kubectl kustomize`, on the PATH')
  mkdirSync(RENDERED, { recursive: true })
  const names = targets()
  for (const name of names) {
    const { yaml, stderr } = renderTarget(name, renderer)
    if (stderr !== '') throw new Error(`${name}: want a silent renderer, found ${stderr}`)
    writeFileSync(goldenFile(name), yaml)
  }
  writeFileSync(HASH_FILE, `${sourcesHash()}\n`)
  return names
}
