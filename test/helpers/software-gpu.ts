// A Vulkan driver in software (SwiftShader, from the development dependency `@sparticuz/chromium`, with the loader that
// lies beside it) for machines without a GPU: for this process, and as the environment of processes that tests start.

import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { brotliDecompressSync } from 'node:zlib'
import koffi from 'koffi'
import { GraphBuilder } from '../../lib/compute/graph.js'
import { createSession } from '../../lib/compute/session.js'

export interface SoftwareGpu {
  /** Of processes that are to see the driver. */
  readonly env: { readonly LD_LIBRARY_PATH: string; readonly VK_ICD_FILENAMES: string }
}

const LOADER = 'libvulkan.so.1'
const DRIVER = 'vk_swiftshader_icd.json'

/** The driver, or why there is none. */
export function findSoftwareGpu(): SoftwareGpu | string {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    return `SwiftShader: want linux x64, this is ${process.platform} ${process.arch}`
  }
  try {
    const folder = unpacked()
    return { env: { LD_LIBRARY_PATH: folder, VK_ICD_FILENAMES: join(folder, DRIVER) } }
  } catch (error) {
    return `SwiftShader: ${error instanceof Error ? error.message : String(error)}`
  }
}

let held: readonly unknown[] | undefined // a library that nobody holds is unloaded, a device without a session forgets its kernels

/** Makes this process see the driver, or skips the test with the reason. */
export function useSoftwareGpu(test: Mocha.Context): void {
  const found = findSoftwareGpu()
  if (typeof found === 'string') {
    console.log(`      skipped: ${found}`)
    return test.skip()
  }
  if (held !== undefined) return
  process.env.VK_ICD_FILENAMES = found.env.VK_ICD_FILENAMES
  const loader = koffi.load(join(found.env.LD_LIBRARY_PATH, LOADER)) // a later look for it finds the one that is there
  const graph = new GraphBuilder()
  graph.output(graph.input('x', [1]), 'y', [1])
  held = [loader, createSession(graph.build('held'), { provider: 'webgpu' })]
}

/** Unpacks once per version of the package. */
function unpacked(): string {
  const main = createRequire(import.meta.url).resolve('@sparticuz/chromium')
  const root = main.slice(0, main.lastIndexOf('/build/'))
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string }
  const folder = join(tmpdir(), `banyan-swiftshader-${version}-${process.getuid?.() ?? 0}`)
  if (existsSync(join(folder, DRIVER))) return folder
  const temporary = mkdtempSync(`${folder}-`)
  const archive = brotliDecompressSync(readFileSync(join(root, 'bin', 'swiftshader.tar.br')))
  const { status, stderr, error } = spawnSync('tar', ['-xf', '-', '-C', temporary], { input: archive })
  if (status !== 0) throw new Error(`tar: ${error?.message ?? stderr.toString()}`, { cause: error })
  try {
    renameSync(temporary, folder)
  } catch (cause) {
    rmSync(temporary, { recursive: true })
    if (!existsSync(join(folder, DRIVER))) throw cause // another process was first
  }
  return folder
}
