// The Dockerfile and its build script, looked at without a container engine: D1 to D3 of the Dockerfile, and that every
// path it names is there and reaches the builder.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { repositoryRoot } from '../helpers/paths.js'
import {
  chainOf,
  copyOf,
  parseDockerfile,
  reachesBuilder,
  stageOf,
  type Instruction,
  type Stage,
} from './dockerfile.js'

const BUILD_SCRIPT = join(repositoryRoot, 'deploy', 'docker', 'build.sh')
const TARGETS = ['runtime', 'cuda']

const text = readFileSync(join(repositoryRoot, 'deploy', 'docker', 'Dockerfile'), 'utf8')
const ignore = readFileSync(join(repositoryRoot, '.dockerignore'), 'utf8')
const file = parseDockerfile(text)
const all = file.stages.flatMap(({ instructions }) => instructions)
const named = (instructions: readonly Instruction[], name: string): readonly Instruction[] =>
  instructions.filter((instruction) => instruction.name === name)
const targets = TARGETS.map((name): readonly [string, readonly Instruction[]] => [
  name,
  chainOf(file, stageOf(file, name)),
])
const contextCopies = named(all, 'COPY')
  .map((instruction) => copyOf(instruction, '/'))
  .filter(({ from }) => from === undefined)
  .flatMap(({ sources }) => sources)

describe('Dockerfile', () => {
  it('has the targets, and builds the one without CUDA unless told', () => {
    assert.deepEqual(
      TARGETS.filter((name) => !file.stages.some((stage) => stage.name === name)),
      [],
    )
    assert.equal(file.stages.at(-1)?.name, 'runtime')
  })

  it('begins every stage with a pinned image, or an earlier stage, and names no registry', () => {
    const isEarlier = ({ from }: Stage, i: number): boolean => file.stages.slice(0, i).some(({ name }) => name === from)
    const bases = file.stages.filter((stage, i) => !isEarlier(stage, i)).map(({ from }) => from)
    assert.equal(bases.length, 3)
    for (const base of bases) assert.match(base, /^(?:[a-z]+\/)?[a-z]+:\d+\.\d+[\w.-]*$/)
  })

  it('brings the Node that the package asks for', () => {
    const { engines } = JSON.parse(readFileSync(join(repositoryRoot, 'package.json'), 'utf8')) as {
      engines: { node: string }
    } // the package's own file
    const [, least = ''] = />=(\d+\.\d+) <21/.exec(engines.node) ?? []
    const [, major = '', minor = ''] = /^node:(\d+)\.(\d+)/.exec(file.args.NODE_IMAGE ?? '') ?? []
    assert.equal(major, least.split('.')[0])
    assert.ok(Number(minor) >= Number(least.split('.')[1]))
  })

  for (const [name, instructions] of targets) {
    it(`${name}: ends as a user who is not root, by number`, () => {
      assert.equal(named(instructions, 'USER').at(-1)?.words, '10001:10001')
    })

    it(`${name}: is the banyan command, without a shell`, () => {
      const entry: unknown = JSON.parse(named(instructions, 'ENTRYPOINT').at(-1)?.words ?? '')
      assert.deepEqual(entry, ['node', '/app/dist/banyan/main.js'])
      assert.deepEqual(named(instructions, 'CMD'), [])
    })

    it(`${name}: says what it is`, () => {
      const labels = named(instructions, 'LABEL').at(-1)?.words ?? ''
      for (const label of ['title', 'description', 'licenses', 'version', 'revision']) {
        assert.match(labels, new RegExp(`org\\.opencontainers\\.image\\.${label}="[^"]+"`))
      }
    })
  }

  it('copies what exists and what .dockerignore lets through', () => {
    assert.deepEqual(
      contextCopies.filter((path) => !existsSync(join(repositoryRoot, path))),
      [],
    )
    assert.deepEqual(
      contextCopies.filter((path) => !reachesBuilder(ignore, path)),
      [],
    )
  })

  it('sends nothing to the builder that it does not copy', () => {
    const lines = ignore.split('\n').filter((line) => line !== '' && !line.startsWith('#'))
    assert.equal(lines[0], '*')
    const allowed = lines.slice(1).map((line) => line.slice(1))
    const isCopied = (path: string): boolean =>
      contextCopies.some((copied) => copied === path || copied.startsWith(`${path}/`) || path.startsWith(`${copied}/`))
    assert.deepEqual(
      allowed.filter((path) => !isCopied(path)),
      [],
    )
    for (const secret of ['.env', '.git/config', 'node_modules/a/index.js', 'dist/cli/main.js', 'test/run.ts']) {
      assert.equal(reachesBuilder(ignore, secret), false, secret)
    }
  })

  it('takes files from stages that come before', () => {
    const unknown = file.stages.flatMap((stage, i) =>
      named(stage.instructions, 'COPY')
        .map(({ flags }) => flags.from)
        .filter((from) => from !== undefined && !file.stages.slice(0, i).some(({ name }) => name === from)),
    )
    assert.deepEqual(unknown, [])
  })

  it('fetches packages by their managers alone: no ADD, no curl, no bare install', () => {
    assert.deepEqual(named(all, 'ADD'), [])
    for (const { words } of named(all, 'RUN')) {
      assert.doesNotMatch(words, /\b(curl|wget)\b|https?:|npm (i|install)\b|npx /)
      if (!words.includes('apt-get install')) continue
      assert.match(words, /apt-get install (--yes )?--no-install-recommends/)
      assert.match(words, /rm -rf \/var\/lib\/apt\/lists\/\*/)
    }
  })

  it('needs no more of the builder than classic instructions', () => {
    assert.doesNotMatch(text, /^# *syntax=|<<\w+|--mount=|--link\b/m)
    const known = ['ARG', 'COPY', 'ENTRYPOINT', 'ENV', 'EXPOSE', 'LABEL', 'RUN', 'USER', 'WORKDIR']
    assert.deepEqual(
      all.filter(({ name }) => !known.includes(name)),
      [],
    )
  })

  it('has no secret', () => {
    const names = [...named(all, 'ENV'), ...named(all, 'ARG')].map(({ words }) => words).join(' ')
    assert.doesNotMatch(names, /password|secret|token|api_?key|credential/i)
  })
})

describe('.dockerignore', () => {
  it('is read as Docker reads it: the last pattern decides, a folder stands for what is below', () => {
    const rules = '# a comment\n*\n!a\n**/*.log\n!a/b/kept.log\n'
    const paths = ['x', 'x/y', 'a', 'a/b/c.ts', 'a/b/c.log', 'c.log', 'a/b/kept.log']
    assert.deepEqual(
      paths.filter((path) => reachesBuilder(rules, path)),
      ['a', 'a/b/c.ts', 'a/b/kept.log'],
    )
  })
})

describe('deploy/docker/build.sh', () => {
  const folder = mkdtempSync(join(tmpdir(), 'banyan-build-'))
  const isBare = '#!/bin/sh\nexit 1\n'
  after(() => rmSync(folder, { recursive: true, force: true }))
  before(() => {
    writeFileSync(join(folder, 'docker'), isBare, { mode: 0o755 })
    for (const tool of ['dirname', 'sed', 'cat']) symlinkSync(which(tool), join(folder, tool))
  })
  const build = (...words: readonly string[]) => {
    const { status, stdout, stderr } = spawnSync('/bin/sh', [BUILD_SCRIPT, ...words], {
      env: { PATH: folder },
      encoding: 'utf8',
    })
    return { status, stdout: stdout.trim(), stderr: stderr.trim() }
  }

  it('can be started', () => {
    assert.notEqual(statSync(BUILD_SCRIPT).mode & 0o111, 0)
  })

  it('names image and target after the package, and pushes nothing unless told', () => {
    const { stdout, status } = build('--dry-run')
    assert.equal(status, 0)
    assert.match(stdout, /^docker build --target runtime .*VERSION=0\.1\.0 .*--tag banyan:0\.1\.0 \S+$/)
    const cuda = build('--dry-run', '--target', 'cuda', '--builder', 'buildah', '--platform', 'linux/amd64').stdout
    assert.match(cuda, /^buildah build --target cuda .*--manifest banyan:0\.1\.0-cuda \S+$/)
    assert.match(build('--dry-run', '--builder', 'kaniko').stdout, /^\/kaniko\/executor .*--no-push/)
  })

  it('pushes where it is told to', () => {
    const push = (...words: readonly string[]) => build('--dry-run', '--push', '--tag', 'host/a:1', ...words).stdout
    assert.match(push(), /\ndocker push host\/a:1$/)
    assert.match(push('--builder', 'buildah'), /\nbuildah push host\/a:1$/)
    assert.doesNotMatch(push('--builder', 'kaniko'), /--no-push/)
  })

  it('refuses what cannot be built, with a word', () => {
    const refused = (...words: readonly string[]): string => {
      const { status, stderr } = build('--dry-run', ...words)
      assert.equal(status, 2)
      return stderr
    }
    assert.match(refused('--target', 'rocm'), /want runtime or cuda, found rocm/)
    assert.match(refused('--target', 'cuda', '--platform', 'linux/arm64'), /no CUDA provider for arm64/)
    assert.match(refused('--builder', 'kaniko', '--platform', 'linux/amd64,linux/arm64'), /one at a time/)
    assert.match(refused('--builder', 'podman'), /want docker, buildah or kaniko/)
    assert.match(refused('--tag'), /--tag: want a value, found none/)
    assert.match(refused('--colour'), /--colour: no such option/)
  })

  it('tells its options', () => {
    const { stdout, status } = build('--help')
    assert.equal(status, 0)
    for (const option of ['--target', '--tag', '--platform', '--push', '--builder', '--dry-run']) {
      assert.ok(stdout.includes(option), option)
    }
  })
})

const which = (tool: string): string =>
  spawnSync('/bin/sh', ['-c', `command -v ${tool}`], { encoding: 'utf8' }).stdout.trim()
