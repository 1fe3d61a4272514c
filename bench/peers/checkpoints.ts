// The models of the comparison: a checkpoint folder for us and, written from it by `banyan export gguf`, a GGUF file for
// llama.cpp. Synthetic ones are generated into the cache; everything goes through our own commands.

import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, statSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { promisify } from 'node:util'
import { demoModelPath, packageRoot } from '../../lib/package-files.js'

const run = promisify(execFile)
const SYNTHETIC = ['0.1', '0.4', '1.5'] // GB in 8 bit

export const WIDTHS = { f32: 'F32', int8: 'Q8_0', int4: 'Q4_0' } as const
export type Width = keyof typeof WIDTHS

/** What `banyan inspect --json` says of a checkpoint, and how its matrices are shared. */
export interface ModelFacts {
  readonly name: string
  readonly folder: string
  readonly parameters: number
  readonly activeParameters: number // per token
  readonly layers: number
  readonly hidden: number
  readonly experts: number
  readonly expertsPerToken: number
  readonly vocabSize: number
  readonly maxPositions: number
  readonly weightBytes: Readonly<Record<Width, number>>
  readonly isTied: boolean // embedding and LM head are one matrix
}

/** `demo`, a synthetic size, or the path of a folder. */
export async function prepareModel(name: string, cache: string): Promise<ModelFacts> {
  const folder = await checkpointFolder(name, cache)
  const report = await banyan(['inspect', folder, '--json'])
  const config = JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')) as { tie_word_embeddings?: boolean }
  const facts = JSON.parse(report) as Omit<ModelFacts, 'name' | 'folder' | 'isTied'> // docs/reference.md: inspect --json
  return { ...facts, name: basename(name), folder, isTied: config.tie_word_embeddings === true }
}

/** Exports anew each time, so that the file always is what today's exporter writes. */
export async function exportGguf(
  model: ModelFacts,
  width: Width,
  cache: string,
): Promise<{ path: string; bytes: number }> {
  mkdirSync(cache, { recursive: true })
  const path = resolve(cache, `${model.name}-${width}.gguf`)
  await banyan(['export', 'gguf', model.folder, '--out', path, '--weights', width])
  return { path, bytes: statSync(path).size }
}

async function checkpointFolder(name: string, cache: string): Promise<string> {
  if (name === 'demo') return demoModelPath()
  if (!SYNTHETIC.includes(name)) return resolve(name)
  const folder = resolve(cache, `synthetic-${name}`)
  if (!existsSync(join(folder, 'config.json')))
    await node(['bench', 'make-synthetic.js'], ['--size', name, '--out', folder])
  return folder
}

const banyan = (words: readonly string[]): Promise<string> => node(['banyan', 'main.js'], words)

async function node(script: readonly string[], words: readonly string[]): Promise<string> {
  const { stdout } = await run(process.execPath, [join(packageRoot(), 'dist', ...script), ...words])
  return stdout
}
