// The file tree of an image, made without a container engine: what the Dockerfile copies and runs, in a folder.
//
// What differs from a builder: the base images are this machine, `nodejs` is the Node that runs the tests, `build` is the
// build that the tests run from (of it, the bundle and the folders whose sources that stage copies), npm works offline.

import { execFileSync, spawnSync } from 'node:child_process'
import {
  chmodSync,
  cpSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { repositoryRoot } from '../helpers/paths.js'
import { chainOf, copyOf, parseDockerfile, stageOf, type Copy, type Dockerfile } from './dockerfile.js'

export interface ImageTree {
  readonly root: string // stands for the image's /
  readonly entrypoint: readonly string[] // paths below root
  /** What the image says, its paths those of the image. */
  readonly env: Readonly<Record<string, string>>
  remove(): void
}

interface Place {
  readonly file: Dockerfile
  readonly root: string
}

/** Makes what is ours of a target's tree, read-only as the image's root is. */
export function createImageTree(target: string): ImageTree {
  const file = parseDockerfile(readFileSync(join(repositoryRoot, 'deploy', 'docker', 'Dockerfile'), 'utf8'))
  const folder = mkdtempSync(join(tmpdir(), 'banyan-image-'))
  chmodSync(folder, 0o755)
  const root = join(folder, 'root')
  mkdirSync(root)
  const remove = (): void => {
    protect(folder, { isWritable: true })
    rmSync(folder, { recursive: true, force: true })
  }
  try {
    const instructions = chainOf(file, stageOf(file, target))
    for (const instruction of instructions) {
      if (instruction.name !== 'COPY') continue
      const copy = copyOf(instruction, '/')
      if (copy.from === 'app') makeApp({ file, root })
      else if (copy.from === 'nodejs') copyInto(process.execPath, join(root, copy.target))
      else
        throw new Error(`line ${instruction.line}: want a copy from app or nodejs, found ${copy.from ?? 'the context'}`)
    }
    protect(root, { isWritable: false })
    const lastOf = (name: string) => instructions.findLast((instruction) => instruction.name === name)?.words ?? ''
    const [node = '', main = ''] = JSON.parse(lastOf('ENTRYPOINT')) as string[] // its exec form
    const env = Object.fromEntries(
      lastOf('ENV')
        .split(' ')
        .map((pair) => pair.split('=') as [string, string]), // KEY=VALUE without spaces
    )
    return { root, entrypoint: [join(root, 'usr/local/bin', node), join(root, main)], env, remove }
  } catch (error) {
    remove()
    throw error
  }
}

/** The stage `app`, as the Dockerfile says it line by line. */
function makeApp({ file, root }: Place): void {
  let workdir = '/'
  for (const instruction of chainOf(file, stageOf(file, 'app'))) {
    if (instruction.name === 'WORKDIR') {
      workdir = instruction.words
      mkdirSync(join(root, workdir), { recursive: true })
    } else if (instruction.name === 'COPY') copyFiles({ file, root }, copyOf(instruction, workdir))
    else if (instruction.name === 'RUN') runIn(join(root, workdir), instruction.words)
  }
}

function copyFiles({ file, root }: Place, { from, sources, target }: Copy): void {
  if (from === undefined) {
    for (const source of sources) {
      const isInFolder = target.endsWith('/') || sources.length > 1
      copyInto(join(repositoryRoot, source), join(root, target, isInFolder ? basename(source) : ''))
    }
    return
  }
  if (from !== 'build' || sources.join() !== '/src/dist') throw new Error(`want /src/dist of build, found ${from}`)
  for (const folder of ['banyan', ...compiledFolders(file)]) {
    const built = join(repositoryRoot, 'dist', folder)
    if (existsSync(built)) copyInto(built, join(root, target, folder))
  }
}

/** First parts of what `build` copies: no others are in its build. */
function compiledFolders(file: Dockerfile): ReadonlySet<string> {
  const copies = chainOf(file, stageOf(file, 'build')).filter(({ name }) => name === 'COPY')
  return new Set(copies.flatMap((copy) => copyOf(copy, '/src').sources.map((source) => source.split('/')[0] ?? '')))
}

function copyInto(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true })
  cpSync(from, to, { recursive: true })
}

/** Runs a line in a folder with npm offline. Where npm's cache lacks a package, the installed ones are thinned out instead. */
function runIn(folder: string, command: string): void {
  const env = { ...process.env, npm_config_offline: 'true', npm_config_update_notifier: 'false' }
  const { status, stderr } = spawnSync('/bin/sh', ['-c', command], { cwd: folder, env, encoding: 'utf8' })
  if (status === 0) return
  if (!command.includes('npm ci') || !stderr.includes('ENOTCACHED')) throw new Error(`${command}: ${stderr}`)
  cpSync(join(repositoryRoot, 'node_modules'), join(folder, 'node_modules'), { recursive: true, dereference: false })
  execFileSync('/bin/sh', ['-c', command.replace('npm ci', 'npm prune')], { cwd: folder, env, stdio: 'pipe' })
}

/** Takes the right to write from a tree, or gives it back to its owner. */
function protect(path: string, { isWritable }: { readonly isWritable: boolean }): void {
  const stat = lstatSync(path)
  if (stat.isSymbolicLink()) return
  if (isWritable) chmodSync(path, stat.mode | 0o700)
  if (stat.isDirectory()) for (const name of readdirSync(path)) protect(join(path, name), { isWritable })
  if (!isWritable) chmodSync(path, (stat.mode | 0o444 | (stat.mode & 0o100 ? 0o111 : 0)) & 0o7555)
}

/** Bytes of the files below a folder. */
export function sizeOf(folder: string): number {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .reduce((sum, entry) => sum + statSync(join(entry.parentPath, entry.name)).size, 0)
}
