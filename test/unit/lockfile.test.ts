// The lockfile works on every machine: no host in it, and the optional packages of every platform are listed.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { repositoryRoot } from '../helpers/paths.js'

interface Entry {
  readonly version?: string
  readonly resolved?: string
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

describe('package-lock.json', () => {
  const text = readFileSync(join(repositoryRoot, 'package-lock.json'), 'utf8')
  const { packages } = JSON.parse(text) as { packages: Record<string, Entry> } // the lockfile's published form

  it('names no registry host', () => {
    const hosted = Object.entries(packages).filter(([, { resolved }]) => resolved?.includes('://') === true)
    assert.deepEqual(
      hosted.map(([name]) => name),
      [],
    )
  })

  it('lists what every platform needs', () => {
    const wanted = Object.values(packages).flatMap(({ optionalDependencies = {} }) => Object.keys(optionalDependencies))
    assert.deepEqual(
      wanted.filter((name) => packages[`node_modules/${name}`]?.version === undefined),
      [],
    )
  })
})
