import assert from 'node:assert/strict'
import { nodePools } from '../../../cli/deploy/node-pools.js'
import { parseImage, slugOf } from '../../../cli/deploy/plan-request.js'

const GIBI = 2 ** 30
const isUsage = (message: RegExp) => (error: Error & { details?: { reason?: string } }) => {
  assert.match(error.message, message)
  assert.equal(error.details?.reason, 'USAGE')
  return true
}

describe('--nodes', () => {
  it('takes what it does not say from the flags, then from the defaults', () => {
    const flags = { nodes: ['4', '2:name=big,memory=256Gi,bandwidth=400GB/s'], nodeCpus: '8', nodeNetwork: '25Gb/s' }
    const [first, second] = nodePools(flags)
    assert.deepEqual(
      [first?.name, first?.count, first?.cpus, first?.memory, first?.bandwidth, first?.network, first?.gpus],
      ['pool-1', 4, 8, 64 * GIBI, 128e9, 3.125e9, 0], // 16 GB/s a processor
    )
    assert.deepEqual(
      [second?.name, second?.count, second?.cpus, second?.memory, second?.bandwidth],
      ['big', 2, 8, 256 * GIBI, 400e9],
    )
  })

  it('may list several pools in one word, with labels and GPUs', () => {
    const pools = nodePools({ nodes: ['4:cpus=500m; 1:gpus=2,gpu-memory=80Gi,gpu-compute=100TFLOPS,label=a.b/c=d'] })
    assert.deepEqual(
      pools.map(({ count, cpus, gpus, gpuMemory, label }) => [count, cpus, gpus, gpuMemory, label]),
      [
        [4, 0.5, 0, 24 * GIBI, undefined],
        [1, 16, 2, 80 * GIBI, { key: 'a.b/c', value: 'd' }],
      ],
    )
  })

  const bad: readonly (readonly [string, Readonly<Record<string, unknown>>, RegExp])[] = [
    ['nothing', {}, /want --nodes N, or/],
    ['no number', { nodes: ['many'] }, /--nodes: want a number from 1 to 1000, .* found "many"/],
    ['none', { nodes: ['0'] }, /found "0"/],
    ['half a list', { nodes: ['4:'] }, /found "4:"/],
    ['an unknown property', { nodes: ['4:cores=3'] }, /--nodes 4:cores=3: want cpus=…, .*label=…, found "cores=3"/],
    ['a property without a value', { nodes: ['4:cpus'] }, /found "cpus"/],
    ['memory without a unit', { nodes: ['4:memory=64'] }, /memory: want memory as in 64Gi or 16G, found "64"/],
    ['a rate as memory', { nodes: ['1'], nodeMemory: '64GB/s' }, /^--node-memory: want memory as in/],
    ['memory as a rate', { nodes: ['1'], nodeBandwidth: '200G' }, /^--node-bandwidth: want a rate/],
    ['two pools of one name', { nodes: ['1:name=a', '2:name=a'] }, /found a twice/],
    ['a label that is none', { nodes: ['1:label=x'] }, /label: want KEY=VALUE/],
    ['half a GPU', { nodes: ['1:gpus=0.5'] }, /gpus: want a number of GPUs, found "0.5"/],
  ]
  for (const [what, flags, message] of bad)
    it(`refuses ${what}`, () => assert.throws(() => nodePools(flags), isUsage(message)))
})

describe('--image', () => {
  it('is a name with a tag or a digest', () => {
    const digest = `sha256:${'0a'.repeat(32)}`
    assert.deepEqual(parseImage('banyan:0.2.0'), { name: 'banyan', tag: '0.2.0' })
    assert.deepEqual(parseImage('r.example:5000/team/banyan:x'), { name: 'r.example:5000/team/banyan', tag: 'x' })
    assert.deepEqual(parseImage(`r.example/banyan:1@${digest}`), { name: 'r.example/banyan', digest })
  })
  for (const text of ['banyan', 'banyan:latest', 'r.example:5000/banyan', 'banyan@sha256:12', ':1', 'a b:1', ''])
    it(`is not ${JSON.stringify(text)}`, () => assert.throws(() => parseImage(text), isUsage(/--image: want a name/)))
})

describe('the folder of a plan', () => {
  it('has a name that Kubernetes could have too', () => {
    assert.deepEqual(['Qwen3-30B-A3B', 'demo', 'a b_c..', '模型'].map(slugOf), [
      'qwen3-30b-a3b',
      'demo',
      'a-b-c',
      'model',
    ])
  })
})
