// Where the repository's data lies, also when the tests run compiled from dist/.

import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'

function findRoot(from: string): string {
  if (existsSync(join(from, 'package-lock.json')) && existsSync(join(from, 'models'))) return from
  const parent = dirname(from)
  if (parent === from) throw new Error('the repository root was not found above this file')
  return findRoot(parent)
}

export const repositoryRoot = findRoot(dirname(fileURLToPath(import.meta.url)))
export const demoModel = join(repositoryRoot, 'models', 'demo')
export const goldenModel = (family: string): string => join(repositoryRoot, 'test', 'goldens', family)
