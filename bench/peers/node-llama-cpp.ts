// The part of node-llama-cpp that the bench uses, with types of our own: the package is installed on demand, so the
// compiler cannot see it.
//
// llama.cpp is driven through the binding below node-llama-cpp's sequence API. That API hands every sequence's token back
// on its own, and the first ones to return form a batch without the others: at 16 streams it needs about two calls of
// llama_decode per step and is half as fast. With the binding one step is one llama_decode over all streams.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { packageRoot } from '../../lib/package-files.js'

/** llama.cpp's context, as node-llama-cpp's native module exports it (pinned version: bench/peers/package.json). */
export interface NativeContext {
  initBatch(numTokens: number): void
  /** Returns the logit index of each position in `withLogits`, an ascending list of indices into `tokens`. */
  addToBatch(sequence: number, firstPosition: number, tokens: Uint32Array, withLogits: Uint32Array): Uint32Array
  decodeBatch(): Promise<unknown>
  sampleToken(logitIndex: number, sampler: NativeSampler): Promise<number>
  /** Drops what the cache holds of a sequence. */
  disposeSequence(sequence: number): void
}

export interface NativeSampler {
  applyConfig(config: { readonly temperature: number }): void
}

export interface LlamaContext {
  readonly _ctx: NativeContext
  dispose(): Promise<void>
}

export interface LlamaModel {
  readonly _model: unknown
  createContext(options: {
    readonly contextSize: number // of each sequence
    readonly sequences: number
    readonly batchSize: number
    readonly threads: number
    readonly flashAttention: boolean
  }): Promise<LlamaContext>
}

export interface Llama {
  readonly systemInfo: string
  readonly _bindings: { readonly AddonSampler: new (model: unknown) => NativeSampler }
  loadModel(options: { readonly modelPath: string }): Promise<LlamaModel>
}

interface NodeLlamaCpp {
  readonly getLlama: (options: {
    readonly gpu: false
    readonly build: 'never'
    readonly maxThreads: number
    readonly logLevel: 'error'
  }) => Promise<Llama>
}

export const peersFolder = (): string => join(packageRoot(), 'bench', 'peers')
const installedFolder = (): string => join(peersFolder(), 'node_modules', 'node-llama-cpp')

export const isInstalled = (): boolean => existsSync(join(installedFolder(), 'package.json'))

/** Loads the library on the processor; needs `npm ci` in bench/peers. */
export async function loadLlama(threads: number): Promise<Llama> {
  const url = pathToFileURL(join(installedFolder(), 'dist', 'index.js')).href
  const { getLlama } = (await import(url)) as NodeLlamaCpp // the pinned version has this form
  return getLlama({ gpu: false, build: 'never', maxThreads: threads, logLevel: 'error' })
}

/** `node-llama-cpp 3.22.1`, `llama.cpp …`: what is installed. */
export function installedVersions(): string[] {
  const field = (file: string, name: string): string => {
    const content = JSON.parse(readFileSync(join(installedFolder(), file), 'utf8')) as Record<string, unknown> // any object
    return String(content[name])
  }
  return [
    `node-llama-cpp ${field('package.json', 'version')}`,
    `llama.cpp ${field(join('llama', 'llama.cpp.info.json'), 'tag')}`,
  ]
}
